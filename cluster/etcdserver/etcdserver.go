// Package etcdserver runs members of an etcd cluster within a process, for tests and for the demo. In production,
// operate etcd separately.
package etcdserver

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// SmallFiles makes the log files of all members small. By default each member allocates two of 64 MB at once, which fills
// the disk of a small machine that runs tests. It is called before the first member starts.
func SmallFiles() { wal.SegmentSizeBytes = 1 << 20 }

// Member is where a member of a cluster listens.
type Member struct {
	Name       string
	Host       string // an address; the loopback interface if empty
	ClientPort int
	PeerPort   int
	// Quota is the maximum size of its database in bytes; etcd's default if zero.
	Quota int64
}

// Client returns the address for clients.
func (m Member) Client() string { return m.at(m.ClientPort) }

func (m Member) peer() string { return "http://" + m.at(m.PeerPort) }

func (m Member) at(port int) string {
	return net.JoinHostPort(cmp.Or(m.Host, "127.0.0.1"), strconv.Itoa(port))
}

// Start starts one member of a cluster with its data in a directory, and returns once it serves, or when the context
// ends. It waits for a quorum of the others. With certificates it uses TLS for clients.
func Start(ctx context.Context, dir string, self Member, all []Member, certificates ...transport.TLSInfo) (*embed.Etcd, error) {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = self.Name, dir
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newLog(self.Name, os.Stderr))
	scheme := "http://"
	if len(certificates) > 0 {
		scheme, cfg.ClientTLSInfo = "https://", certificates[0]
	}
	client, err := url.Parse(scheme + self.Client())
	if err != nil {
		return nil, err
	}
	peer, err := url.Parse(self.peer())
	if err != nil {
		return nil, err
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	cluster := make([]string, len(all))
	for i, m := range all {
		cluster[i] = m.Name + "=" + m.peer()
	}
	cfg.InitialCluster = strings.Join(cluster, ",")
	cfg.InitialClusterToken = "oolith"
	cfg.TickMs, cfg.ElectionMs = 100, 1000
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, time.Hour.String()
	cfg.QuotaBackendBytes = self.Quota
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("etcd member %s: %w", self.Name, err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case err := <-server.Err():
		server.Close()
		return nil, fmt.Errorf("etcd member %s: %w", self.Name, err)
	case <-ctx.Done():
		server.Close()
		return nil, fmt.Errorf("etcd member %s: %w", self.Name, ctx.Err())
	}
}
