package storage

import (
	"log/slog"

	"github.com/oolith-db/oolith/meta"
)

// What expires in a store whose lists come from the persistent layer: nothing loads its objects, and
// so nothing tells at Start which of them have a time to live.

// isPast reports whether an object that a read of the persistent layer came upon is expired at the
// moment of the read, and then has it removed: nothing else may know of it.
func (r *run) isPast(now *moment, obj *meta.Object) bool {
	at := r.expiryOf(obj)
	if !now.past(at) {
		return false
	}
	r.expiring.Store(true)
	r.expirer.learn(obj.Path, at)
	return true
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
	for obj, err := range Scan(r.layer, "") {
		if isClosed(e.quit) {
			return nil
		}
		if err != nil {
			return err
		}
		if at := r.expiryOf(&obj); at != 0 {
			r.expiring.Store(true)
			e.learn(obj.Path, at)
		}
	}
	e.searched.Store(true)
	return nil
}
