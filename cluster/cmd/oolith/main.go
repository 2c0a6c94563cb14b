// Command oolith is the command line with the engine for etcd: it opens the stores etcd://HOST:PORT,.../PREFIX in
// addition to all others.
package main

import (
	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/internal/command"
)

func main() { command.Main(etcd.Engine) }
