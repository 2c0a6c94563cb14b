package servertest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/server"
	"github.com/oolith-db/oolith/servertest"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

// put stores something by a plain request and returns the status, 0 where no whole answer came.
func put(ctx context.Context, t *testing.T, s *servertest.Server, path string) (status int, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL+"/"+path, strings.NewReader("1"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

// Each fault does what it says, to the request and to the client.
func TestFault(t *testing.T) {
	for name, test := range map[string]struct {
		fault servertest.Fault
		made  bool // the server got the request
		told  bool // the client got the answer
		twice bool
	}{
		"none":      {servertest.Fault{}, true, true, false},
		"late":      {servertest.Fault{Delay: time.Millisecond}, true, true, false},
		"lost":      {servertest.Fault{Lost: true}, false, false, false},
		"cut":       {servertest.Fault{Cut: true}, true, false, false},
		"half":      {servertest.Fault{Cut: true, After: 30}, true, false, false},
		"untouched": {servertest.Fault{Cut: true, After: 1 << 20}, true, true, false},
		"stalled":   {servertest.Fault{Stall: true, After: 30}, true, false, false},
		"twice":     {servertest.Fault{Twice: true}, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := servertest.Start(t, server.Options{})
			s.Faults(servertest.Next(test.fault))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.fault.Stall { // it is given up once the server is done
				go func() {
					for s.Store.Revision() == 0 {
						time.Sleep(time.Millisecond) // it polls
					}
					cancel()
				}()
			}
			status, err := put(ctx, t, s, "a")
			if test.told != (err == nil) || test.told && status != http.StatusCreated && !test.twice || test.twice && status != http.StatusOK {
				t.Errorf("the client is told %d, %v", status, err)
			}
			if obj, err := s.Store.Get("a"); test.made != (err == nil) || test.twice != (obj.Updated != 0) {
				t.Errorf("the store has %+v, %v", obj, err)
			}
			if status, err := put(t.Context(), t, s, "b"); err != nil || status != http.StatusCreated {
				t.Errorf("the request behind it: %d, %v", status, err)
			}
		})
	}
}

// A server that is stopped refuses; started again it is at the same address, and has what its layer has.
func TestRestart(t *testing.T) {
	for name, durable := range map[string]bool{"durable": true, "memory": false} {
		t.Run(name, func(t *testing.T) {
			var layers []storage.EmbeddedLayer
			if durable {
				layers = append(layers, storagetest.NewBatchLayer(new(storagetest.Disk), "store"))
			}
			s := servertest.Start(t, server.Options{}, layers...)
			url := s.URL
			if _, err := put(t.Context(), t, s, "a"); err != nil {
				t.Fatal(err)
			}
			s.Stop()
			s.Stop()
			if _, err := put(t.Context(), t, s, "b"); err == nil {
				t.Error("a server that is stopped answers")
			}
			s.Restart()
			_, err := s.Client.Get(t.Context(), "a")
			if s.URL != url || durable != (err == nil) || !durable && !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("after a restart, at %s: %v", s.URL, err)
			}
			s.Restart()
			if _, err := put(t.Context(), t, s, "c"); err != nil {
				t.Error(err)
			}
		})
	}
}
