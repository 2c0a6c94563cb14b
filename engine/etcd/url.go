package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/storage"
)

// Engine opens stores by URLs of the form etcd://HOST:PORT,HOST:PORT/PREFIX. Pass it to oolith.Open or engine.Open.
// The default prefix is "oolith/". The options are
//
//	user, password-file       authenticate; the file holds the password
//	ca-file                   TLS; these authorities verify the cluster's certificates
//	cert-file, key-file       TLS with a client certificate
//	existing=on               create no store: one must exist
//	readonly=on               write nothing, not even to create a store
//	max-request               bytes of data in a transaction: 1.25M by default
var Engine = engine.New("etcd", "//HOST:PORT,.../PREFIX", []engine.Option[urlOptions]{
	engine.Text("user", "NAME", func(o *urlOptions, v string) { o.user = v }),
	engine.Text("password-file", "FILE", func(o *urlOptions, v string) { o.passwordFile = v }),
	engine.Text("ca-file", "FILE", func(o *urlOptions, v string) { o.caFile = v }),
	engine.Text("cert-file", "FILE", func(o *urlOptions, v string) { o.certFile = v }),
	engine.Text("key-file", "FILE", func(o *urlOptions, v string) { o.keyFile = v }),
	engine.Switch("existing", func(o *urlOptions, on bool) { o.existing = on }),
	engine.Switch("readonly", func(o *urlOptions, on bool) { o.readOnly = on }),
	engine.Size("max-request", func(o *urlOptions, v int64) { o.maxRequest = v }),
}, func(location string, o urlOptions) storage.EmbeddedLayer {
	endpoints, options, err := o.options(location)
	layer := New(endpoints, options)
	layer.refused = err
	return layer
}).Remote()

// urlOptions are the options of a URL.
type urlOptions struct {
	user, passwordFile, caFile, certFile, keyFile string
	maxRequest                                    int64
	existing, readOnly                            bool
}

// options converts the options of a URL.
func (o urlOptions) options(location string) (endpoints []string, options Options, err error) {
	rest, ok := strings.CutPrefix(location, "//")
	if !ok {
		return nil, options, fmt.Errorf("the location %q: expected //HOST:PORT,HOST:PORT/PREFIX", location)
	}
	hosts, prefix, _ := strings.Cut(rest, "/")
	for _, host := range strings.Split(hosts, ",") {
		if u, err := url.Parse("//" + host); err != nil || u.Hostname() == "" || u.Port() == "" {
			return nil, options, fmt.Errorf("the member %q: expected HOST:PORT, such as 10.0.0.1:2379", host)
		}
		endpoints = append(endpoints, host)
	}
	options = Options{Prefix: prefix, Username: o.user, MaxRequest: int(o.maxRequest), Existing: o.existing, ReadOnly: o.readOnly}
	if (o.user == "") != (o.passwordFile == "") {
		return nil, options, errors.New("the options user and password-file: expected both or none")
	}
	if o.passwordFile != "" {
		password, err := os.ReadFile(o.passwordFile)
		if err != nil {
			return nil, options, fmt.Errorf("the option password-file: %w", err)
		}
		options.Password = strings.TrimRight(string(password), "\r\n")
	}
	options.TLS, err = o.tls()
	return endpoints, options, err
}

func (o urlOptions) tls() (*tls.Config, error) {
	if o.caFile == "" && o.certFile == "" && o.keyFile == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.caFile != "" {
		pem, err := os.ReadFile(o.caFile)
		if err != nil {
			return nil, fmt.Errorf("the option ca-file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the option ca-file: %s holds no certificate in PEM", o.caFile)
		}
	}
	if (o.certFile == "") != (o.keyFile == "") {
		return nil, errors.New("the options cert-file and key-file: expected both or none")
	}
	if o.certFile != "" {
		pair, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
		if err != nil {
			return nil, fmt.Errorf("the options cert-file and key-file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
