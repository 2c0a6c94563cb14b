// Package etcd is the engine for several machines: the stores of any number of nodes share one content, ordered by an
// etcd cluster. Each node has all objects in memory; see storage.SharedLayer for the consequences for reads and
// writes.
//
// The package is the client. It scales reads, watchers and availability, but neither the size of the data nor the
// rate of writes: every node holds everything, and every write goes through one order.
//
// # Format, version 1
//
// All keys begin with the prefix, which ends with a slash.
//
//	m                  the marker: {"format":1,"id":"…"}, written when the store is created
//	o/PARENT NUL INDEX an object: the envelope of internal/codec, in which the revision is the place within its transaction
//	i                  why the content is incomplete, while a copy into it is in progress
//	n/NODE             the record of the last transaction of a node, which each of its transactions writes first
//	a/NODE             a sign of life of a node, bound to a lease of etcd
//	v                  written by each transaction, so a transaction can require that none came between
//	l/PATH NUL LEASE   a place in the queue of a lock, bound to a lease of etcd
//	e                  the node that removes expired objects
//
// A directory is therefore one range of keys. The revision of an object is etcd's revision, which is the same for a
// whole transaction, times 4,096, plus its place within the transaction.
//
// A record holds what etcd's events do not: the order of the changes, why something was removed, which changes are
// silent, and which changes are one batch. It also tells a node whose connection was lost in the middle of a
// transaction whether the transaction took place.
//
// Changes of other software below the prefix have no record, and are applied in the order of etcd's events. An object
// that is put this way has the place in its envelope, unless another change of the same transaction has that place or
// a later one. In that case nodes that follow assign it the next place, and a node that starts later the place of its
// envelope.
package etcd
