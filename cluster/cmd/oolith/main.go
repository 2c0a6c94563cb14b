// Command oolith is the command line with the engine for etcd: the stores etcd://HOST:PORT,.../PREFIX beside all others.
package main

import (
	"github.com/oolith-db/oolith/engine/etcd"
	"github.com/oolith-db/oolith/internal/command"
)

func main() { command.Main(etcd.Engine) }
