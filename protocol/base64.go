package protocol

// decodedMax is the longest key that 250 characters of base64 decode to.
const decodedMax = KeyMax / 4 * 3

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

const notBase64 = 0x80

// base64Digits maps a byte to its six bits, = to 0, others to notBase64.
var base64Digits = func() (digits [256]byte) {
	for i := range digits {
		digits[i] = notBase64
	}
	for i := range len(base64Alphabet) {
		digits[base64Alphabet[i]] = byte(i)
	}
	digits['='] = 0
	return digits
}()

// decodeKey appends the decoded key to dst, which has room for decodedMax
// bytes. It is memcached's decoder: bytes outside the alphabet are skipped,
// their number must be a multiple of four and not 0, and padding ends the key.
// The package encoding/base64 is stricter.
func decodeKey(dst, key []byte) ([]byte, bool) {
	count := 0
	for _, c := range key {
		if base64Digits[c] != notBase64 {
			count++
		}
	}
	if count == 0 || count%4 != 0 {
		return nil, false
	}
	var group uint32
	n, padding := 0, 0
	for _, c := range key {
		digit := base64Digits[c]
		if digit == notBase64 {
			continue
		}
		if c == '=' {
			padding++
		}
		group = group<<6 | uint32(digit)
		if n++; n < 4 {
			continue
		}
		dst = append(dst, byte(group>>16), byte(group>>8), byte(group))
		if padding > 0 {
			if padding > 2 {
				return nil, false
			}
			dst = dst[:len(dst)-padding]
			break
		}
		group, n = 0, 0
	}
	return dst, len(dst) > 0
}

// appendBase64 appends key in base64, with padding.
func appendBase64(dst, key []byte) []byte {
	for ; len(key) >= 3; key = key[3:] {
		group := uint32(key[0])<<16 | uint32(key[1])<<8 | uint32(key[2])
		dst = append(dst, base64Alphabet[group>>18], base64Alphabet[group>>12&63], base64Alphabet[group>>6&63], base64Alphabet[group&63])
	}
	switch len(key) {
	case 1:
		dst = append(dst, base64Alphabet[key[0]>>2], base64Alphabet[key[0]&3<<4], '=', '=')
	case 2:
		dst = append(dst, base64Alphabet[key[0]>>2], base64Alphabet[key[0]&3<<4|key[1]>>4], base64Alphabet[key[1]&15<<2], '=')
	}
	return dst
}
