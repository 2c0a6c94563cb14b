package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// diagnosis limits how long diagnose may take.
const diagnosis = 2 * time.Second

// diagnose says why a cluster cannot be reached: etcd's client only reports a timeout. It returns nil if it finds no
// cause: the members answer, and have no quorum.
func diagnose(endpoints []string, config *tls.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), diagnosis)
	defer cancel()
	found := make([]error, len(endpoints))
	done := make(chan struct{})
	for i, endpoint := range endpoints {
		go func() {
			found[i] = diagnoseMember(ctx, endpoint, config)
			done <- struct{}{}
		}()
	}
	for range endpoints {
		<-done
	}
	for _, err := range found {
		if err == nil {
			return nil // a member that answers can form a quorum with others
		}
	}
	return errors.Join(found...)
}

func diagnoseMember(ctx context.Context, endpoint string, config *tls.Config) error {
	_, address, isURL := strings.Cut(endpoint, "://")
	if !isURL {
		address = endpoint
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if config == nil {
		// A member that requires TLS answers a TLS greeting; any other closes the connection, or does not answer.
		greeted := new(greeting)
		probe := &tls.Config{InsecureSkipVerify: true, VerifyConnection: greeted.seen} // only the greeting is sent there
		err := tls.Client(conn, probe).HandshakeContext(ctx)
		if *greeted || err == nil {
			return fmt.Errorf("the member %s demands TLS, name the option ca-file", endpoint)
		}
		return nil
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address) // it was dialled
	}
	conn2 := tls.Client(conn, config)
	if err := conn2.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS with the member %s: %w", endpoint, err)
	}
	// With TLS 1.3 a member rejects the client's certificate only after the handshake.
	if err := conn2.SetReadDeadline(time.Now().Add(diagnosis / 4)); err != nil {
		return err
	}
	_, err = conn2.Read(make([]byte, 1))
	if refused := (*net.OpError)(nil); errors.As(err, &refused) && refused.Op == "remote error" {
		return fmt.Errorf("TLS with the member %s: it refuses the client: %w; name the options cert-file and key-file", endpoint, err)
	}
	return nil
}

// greeting records whether a member answered a TLS greeting.
type greeting bool

func (g *greeting) seen(tls.ConnectionState) error {
	*g = true
	return nil
}
