package server

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// readCertificates parses every certificate of a text in PEM form (RFC 7468), in order.
// Other blocks, such as keys, and text between blocks are passed over.
//
// encoding/pem and crypto/x509 pass over blocks that they cannot read as well. A file that
// is cut off or damaged, or still being written, would then be used without a certificate
// that clients need, or without an authority that they are judged by; so it is an error,
// as it is for OpenSSL, and the files that are in use stay.
func readCertificates(text []byte) (certs []*x509.Certificate, err error) {
	begins, ends, blocks := 0, 0, 0
	for line := range bytes.Lines(text) {
		switch {
		case bytes.HasPrefix(line, []byte("-----BEGIN ")):
			begins++
		case bytes.HasPrefix(line, []byte("-----END ")):
			ends++
		}
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("expected certificates, found something else in block %d of the file: %w", blocks, err)
		}
		certs = append(certs, c)
	}
	switch {
	case blocks != begins || blocks != ends:
		return nil, fmt.Errorf("expected whole blocks in PEM form, found %d lines that begin one, %d that end one, and %d blocks that can be read: the file is damaged or not yet written to its end", begins, ends, blocks)
	case len(certs) == 0:
		return nil, errors.New("expected certificates in PEM form, found none")
	}
	return certs, nil
}
