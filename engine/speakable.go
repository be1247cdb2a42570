package engine

// Speakable reports whether the text protocol can name the key: no blank, no CR,
// LF or NUL. Others come in base64 or by the binary protocol, and are shown in
// base64 wherever text shows them: their bytes would be read as more than a key.
func Speakable(key []byte) bool {
	for _, b := range key {
		if b == ' ' || b == '\r' || b == '\n' || b == 0 {
			return false
		}
	}
	return true
}
