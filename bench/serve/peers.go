package main

import (
	"errors"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.etcd.io/etcd/server/v3/embed"
)

// serveNATS starts a NATS server with WebSocket and JetStream. If durable, it syncs each write before it acknowledges
// it.
func serveNATS(durable bool) func(dir string) (string, error) {
	return func(dir string) (string, error) {
		s, err := server.NewServer(&server.Options{
			Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true, MaxConn: 30_000,
			JetStream: true, StoreDir: dir, SyncAlways: durable,
			Websocket: server.WebsocketOpts{Host: "127.0.0.1", Port: -1, NoTLS: true},
		})
		if err != nil {
			return "", err
		}
		s.Start()
		if !s.ReadyForConnections(30 * time.Second) {
			return "", errors.New("it is not ready after 30 s")
		}
		return s.WebsocketURL(), nil
	}
}

// serveEtcd starts an etcd of one member.
func serveEtcd(dir string) (string, error) {
	local := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	config := embed.NewConfig()
	config.Dir, config.LogLevel = dir, "error"
	config.ListenClientUrls, config.ListenPeerUrls = []url.URL{local}, []url.URL{local}
	config.AdvertiseClientUrls, config.AdvertisePeerUrls = []url.URL{local}, []url.URL{local}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	e, err := embed.StartEtcd(config)
	if err != nil {
		return "", err
	}
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(time.Minute):
		return "", errors.New("it is not ready after a minute")
	}
	return e.Clients[0].Addr().String(), nil
}
