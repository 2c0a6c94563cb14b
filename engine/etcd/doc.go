// Package etcd is the engine for several machines: the stores of any number of nodes share one content, whose order an
// etcd cluster makes. Each node has all objects in memory; see storage.SharedLayer for what that means for reads and writes.
//
// The package is the client. It scales reads, watchers and availability, and not the size of the data or the rate of
// writes: every node holds everything, and every write goes through one order.
//
// # Format, version 1
//
// All keys begin with the prefix, which ends with a slash.
//
//	m                  the marker: {"format":1,"id":"…"}, written when the store is made
//	o/PARENT NUL INDEX an object: the envelope of internal/codec, in which the revision is the place within its transaction
//	i                  why the content is only a part, while a copy into it is under way
//	n/NODE             the record of the last transaction of a node, which each of its transactions writes first
//	a/NODE             a sign of life of a node, bound to a lease of etcd
//	v                  written by each transaction, so that one can demand that none came between
//	l/PATH NUL LEASE   a place in the queue of a lock, bound to a lease of etcd
//	e                  the node that removes what is expired
//
// So a directory is one range of keys. The revision of an object is that of etcd, which is one for a whole
// transaction, times 4,096, and its place within that.
//
// A record says what etcd's events do not: in which order the changes come, why something was removed, what is silent, and which changes are
// one batch. It also tells a node whose connection was lost in the middle of a transaction whether that took place.
//
// Changes of other software below the prefix have no record, and are applied in the order of etcd's events. An object that is put so has
// the place that its envelope says, unless another change of the same transaction has that or a later one: then it has the next one to
// those who follow, and that of its envelope to a node that starts later.
package etcd
