//go:build linux

package machine

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func newGroup(t *testing.T, n int) *Group {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
	g, err := New(t.TempDir(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return g
}

// synced makes a file that is on the disk.
func synced(name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// What was flushed is there behind a cut, and of what was not, nothing where no share survives.
func TestDiskForgets(t *testing.T) {
	g := newGroup(t, 1)
	disk := g.At(0).Disk
	write := func(name string, sync bool) {
		t.Helper()
		file, err := os.Create(filepath.Join(disk.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Write(bytes.Repeat([]byte(name), 10_000)); err != nil {
			t.Fatal(err)
		}
		if !sync {
			return
		}
		dir, err := os.Open(disk.Dir)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if err := errors.Join(file.Sync(), dir.Sync()); err != nil {
			t.Fatal(err)
		}
	}
	for round, share := range []float64{0, 0.5, 1} {
		write("synced", true)
		write("not", false)
		disk.Cut(share)
		if err := synced(filepath.Join(disk.Dir, "later")); err == nil {
			t.Error("a disk without power was written to")
		}
		if err := disk.Restore(); err != nil {
			t.Fatalf("Restore: %v", err)
		}
		if got, err := os.ReadFile(filepath.Join(disk.Dir, "synced")); err != nil || len(got) != 60_000 {
			t.Errorf("round %d: what was synced has %d bytes, %v", round, len(got), err)
		}
		if _, err := os.Stat(filepath.Join(disk.Dir, "not")); err == nil && share == 0 {
			t.Errorf("round %d: what was not synced is there", round)
		}
		if err := os.Remove(filepath.Join(disk.Dir, "synced")); err != nil {
			t.Fatal(err)
		}
	}
}

// Software that looks at all file systems, such as df, makes one busy for an instant.
func TestDiskIsLookedAt(t *testing.T) {
	disk := newGroup(t, 1).At(0).Disk
	look, err := os.Open(disk.Dir)
	if err != nil {
		t.Fatal(err)
	}
	disk.Cut(0)
	closed := make(chan error, 1)
	time.AfterFunc(200*time.Millisecond, func() { closed <- look.Close() })
	if err := errors.Join(disk.Restore(), <-closed); err != nil {
		t.Errorf("Restore of a disk that somebody looks at: %v", err)
	}
}

func TestDiskIsFull(t *testing.T) {
	disk := newGroup(t, 1).At(0).Disk
	if err := disk.Fill(1 << 20); err != nil {
		t.Fatal(err)
	}
	much := filepath.Join(disk.Dir, "much")
	if err := os.WriteFile(much, make([]byte, 16<<20), 0o600); err == nil {
		t.Error("16 MiB fit on a full disk")
	}
	if err := errors.Join(os.Remove(much), disk.Free(), os.WriteFile(much, make([]byte, 16<<20), 0o600)); err != nil {
		t.Errorf("once there is room again: %v", err)
	}
}

// echoed reports whether a machine hears its words again from another one, which echoes them, within a moment.
func echoed(t *testing.T, from, to *Machine, listener net.Listener) bool {
	t.Helper()
	var conn net.Conn
	err := from.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", listener.Addr().String(), 300*time.Millisecond)
		return err
	})
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond)) // a connection of the kernel's takes it
	if _, err := conn.Write([]byte("word")); err != nil {
		return false
	}
	_, err = io.ReadFull(conn, make([]byte, 4))
	return err == nil
}

func TestNetworkLosesPackets(t *testing.T) {
	g := newGroup(t, 2)
	a, b := g.At(0), g.At(1)
	var listener net.Listener
	if err := b.Do(func() (err error) {
		listener, err = net.Listen("tcp", b.Addr()+":0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn) // the other side says how that went
				_ = conn.Close()
			}()
		}
	}()
	look := func(state string, want bool, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", state, err)
		}
		if !want {
			if echoed(t, a, b, listener) {
				t.Errorf("%s: an echo comes", state)
			}
			return
		}
		for !echoed(t, a, b, listener) { // a busy machine takes its time
			if t.Context().Err() != nil {
				t.Fatalf("%s: no echo comes", state)
			}
		}
	}
	look("at first", true, nil)
	look("without a cable", false, a.SetPlugged(false))
	look("with its cable again", true, a.SetPlugged(true))
	look("what is sent is lost", false, a.SetReaches(b, false))
	look("it is lost no more", true, a.SetReaches(b, true))
	look("the answers are lost", false, b.SetReaches(a, false))
	look("they are lost no more", true, b.SetReaches(a, true))
	look("with a slow cable", true, a.SetSlow(true))
	look("with a fast one", true, a.SetSlow(false))
	if conn, err := net.DialTimeout("tcp", listener.Addr().String(), 300*time.Millisecond); err == nil {
		_ = conn.Close()
		t.Error("the network of the machines is reached from outside of it")
	}
}
