package storage

import (
	"log/slog"

	"github.com/oolith-db/oolith/meta"
)

// What expires in a store whose lists come from the persistent layer: nothing loads its objects, and
// so nothing tells at Start which of them have a time to live.

// learn takes in that an object which was come upon in the layer has an end.
func (r *run) learn(path string, at int64) {
	r.expiring.Store(true)
	r.expirer.learn(path, at)
}

// mayExpire reports whether there may be objects with a time to live in the persistent layer of a store whose
// lists come from there.
func (r *run) mayExpire() bool { return r.expiring.Load() || !r.expirer.searched.Load() }

// startSearch looks for what expires, in the background, in a store that does not load
// its objects.
func (r *run) startSearch() {
	if _, ok := As[Scanner](r.layer); !ok {
		return // it cannot stream: what expires is known once it is written, or read and found expired
	}
	e := &r.expirer
	e.quit = make(chan struct{})
	e.work.Add(1)
	go func() {
		err := r.search()
		e.work.Done()
		if err != nil {
			e.logger.Error("oolith: the search for expired objects ended", slog.Any("error", err))
		}
	}()
}

func (r *run) search() error {
	e := &r.expirer
	err := r.eachInLayer("", func(obj *meta.Object) bool {
		if isClosed(e.quit) {
			return false
		}
		if at := r.expiryOf(obj); at != 0 {
			r.learn(obj.Path, at)
		}
		return true
	})
	if err == nil && !isClosed(e.quit) {
		e.searched.Store(true)
	}
	return err
}
