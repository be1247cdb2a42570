package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"sememcached/server"
)

// addTLSFlag adds -Z.
func addTLSFlag(f *pflag.FlagSet, t *server.TLS) {
	f.BoolVarP(&t.Enabled, "enable-ssl", "Z", false, "enable TLS on every TCP listener but those of -l notls:host:port; -l btls:... asks for no client certificate, -l mtls:... requires one")
}

// tlsOptions are the names of -o that begin with ssl_.
var tlsOptions = []extOption{
	{
		name: "ssl_chain_cert", help: "certificate chain file in PEM format",
		missing: "Missing ssl_chain_cert argument",
		set:     path(func(t *server.TLS) *string { return &t.ChainCert }),
	},
	{
		name: "ssl_key", help: "private key file, if the key is not in ssl_chain_cert",
		missing: "Missing ssl_key argument",
		set:     path(func(t *server.TLS) *string { return &t.Key }),
	},
	{
		name: "ssl_keyformat", help: "private key format: 1 or PEM, 2 or DER (default: PEM)",
		missing: "Missing ssl_keyformat argument", set: setKeyFormat,
	},
	{
		name: "ssl_verify_mode", help: "client certificates: 0 not asked for (default), 1 asked for, 2 or 3 required",
		missing: "Missing ssl_verify_mode argument",
		set: number("ssl_verify_mode", true, func(o *options) *int { return &o.server.TLS.VerifyMode }, func(n int) string {
			if n < 0 || n > 3 {
				return "Invalid ssl_verify_mode. Use help to see valid options."
			}
			return ""
		}),
	},
	{
		name: "ssl_ciphers", help: "OpenSSL cipher list, for TLS 1.2 and before",
		missing: "Missing ssl_ciphers argument",
		set: func(o *options, value string) error {
			o.server.TLS.Ciphers = value
			return nil
		},
	},
	{
		name: "ssl_ca_cert", help: "PEM file of the authorities whose client certificates are accepted",
		missing: "Missing ssl_ca_cert argument",
		set:     path(func(t *server.TLS) *string { return &t.CACert }),
	},
	{
		name: "ssl_wbuf_size", help: "TLS output buffer, in kilobytes (default: 16)",
		missing: "Missing ssl_wbuf_size argument", noted: true,
		set: unsigned("ssl_wbuf_size", 1<<10, func(o *options) *int { return &o.server.TLS.WriteBuffer }),
	},
	{
		name: "ssl_session_cache", help: "sessions can be resumed, by tickets",
		set: turn(func(o *options) *bool { return &o.server.TLS.SessionCache }, true),
	},
	{
		name: "ssl_kernel_tls", help: "kernel TLS offload", noted: true,
		set: turn(func(o *options) *bool { return &o.server.TLS.KernelTLS }, true),
	},
	{
		name: "ssl_min_version", help: "oldest version accepted: 0 tlsv1.0, 1 tlsv1.1, 2 tlsv1.2 (default), 3 tlsv1.3",
		missing: "Missing ssl_min_version argument", set: setMinVersion,
	},
}

// path is a setter for a file. It is made absolute: a daemon leaves the directory
// it was started in, and reads its files again.
func path(field func(t *server.TLS) *string) func(*options, string) error {
	return func(o *options, value string) error {
		abs, err := filepath.Abs(value)
		if err != nil {
			return err
		}
		*field(&o.server.TLS) = abs
		return nil
	}
}

// setKeyFormat takes OpenSSL's number, as memcached does, and the words of
// memcached's help too, which memcached itself does not take.
func setKeyFormat(o *options, value string) error {
	f := &o.server.TLS.KeyFormat
	switch strings.ToUpper(value) {
	case "PEM":
		*f = server.KeyPEM
	case "DER":
		*f = server.KeyDER
	case "ENGINE":
		return fmt.Errorf("ssl_keyformat ENGINE is not supported: expected PEM or DER")
	default:
		n, err := strconv.ParseInt(strings.TrimLeft(value, " "), 10, 32)
		if err != nil {
			return unparsed("ssl_keyformat")
		}
		*f = server.KeyFormat(n)
	}
	return nil
}

func setMinVersion(o *options, value string) error {
	n, err := strconv.ParseInt(strings.TrimLeft(value, " "), 10, 32)
	if err != nil {
		return unparsed("ssl_min_version")
	}
	versions := [...]uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13}
	if n < 0 || int(n) >= len(versions) {
		return refusal("Invalid ssl_min_version. Use help to see valid options.")
	}
	o.server.TLS.MinVersion = versions[n]
	return nil
}

// refusedTLS is the exit of a start that TLS settings or files refuse, and err
// itself if it is of another kind.
func refusedTLS(err error) error {
	var refused server.TLSError
	if errors.As(err, &refused) {
		return exitf(exitUsage, "%s", refused)
	}
	return err
}

// refreshCerts reads the TLS files again, on SIGHUP.
func refreshCerts(srv *server.Server, on bool, log *slog.Logger) {
	if !on {
		return
	}
	if err := srv.RefreshCerts(); err != nil {
		log.Error("reload failed, the old certificates stay", "error", err)
	} else {
		log.Info("reloaded: TLS certificates")
	}
}
