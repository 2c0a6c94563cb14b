package storage

import (
	"log/slog"

	"github.com/oolith-db/oolith/meta"
)

// Expiry in a store whose lists come from the persistent layer. Start does not load the objects, so it does not learn
// which of them expire.

// learn records the expiry of an object found in the layer.
func (r *run) learn(path string, at int64) {
	r.expiring.Store(true)
	r.expirer.learn(path, at)
}

// mayExpire reports whether the persistent layer may hold expiring objects, in a store whose lists come from it.
func (r *run) mayExpire() bool { return r.expiring.Load() || !r.expirer.searched.Load() }

// startSearch starts a background search for expiring objects in a store that does not load its objects.
func (r *run) startSearch() {
	if _, ok := As[Scanner](r.layer); !ok {
		return // a layer without Scanner: expiry is learned from writes and reads
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
