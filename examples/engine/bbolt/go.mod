module github.com/oolith-db/oolith/examples/engine/bbolt

go 1.26.0

require (
	github.com/oolith-db/oolith v0.0.0
	go.etcd.io/bbolt v1.5.0
)

require (
	github.com/puzpuzpuz/xsync/v4 v4.5.0 // indirect
	github.com/tidwall/btree v1.8.2 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/oolith-db/oolith => ../../..
