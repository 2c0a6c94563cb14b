package ko

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

// filled returns a disk with a closed store of several tables, a log with several records, and
// a manifest with several records.
func filled(t testing.TB) *memDisk {
	t.Helper()
	disk := newMemDisk()
	l := enginetest.Start(t, disk.layer(t, Options{WriteBuffer: 16 << 10}))
	for i := range 100 {
		var paths []string
		for k := range 20 {
			paths = append(paths, fmt.Sprintf("d/%03d-%02d", i, k))
		}
		fill(t, l, paths)
	}
	l.Close()
	l = enginetest.Start(t, disk.layer(t, Options{}))
	for i := range 200 {
		enginetest.Set(t, l, fmt.Sprintf("late/%03d", i))
	}
	l.Close()
	return disk
}

func isManifest(name string) bool { return strings.HasPrefix(name, "MANIFEST-") }
func isLog(name string) bool      { return strings.HasSuffix(name, ".log") }
func isTable(name string) bool    { return strings.HasSuffix(name, ".ldb") }

// What is damaged is refused, and stays as it is.
func TestDamagedFilesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, disk *memDisk)
		texts  []string
	}{
		{"a manifest damaged at its beginning", func(t *testing.T, disk *memDisk) {
			for name, file := range disk.live {
				if isManifest(name) {
					file.data = append(file.data, file.data...) // at least two records
				}
			}
			disk.corruptFiles(t, isManifest, 0.1, 0.2)
		}, []string{"MANIFEST-", "damaged at byte"}},
		{"a log damaged in the middle", func(t *testing.T, disk *memDisk) {
			disk.corruptFiles(t, isLog, 0.5, 0.51)
		}, []string{".log", "damaged at byte"}},
		{"a log damaged in its first byte", func(t *testing.T, disk *memDisk) {
			disk.corruptFiles(t, isLog, 0, 0.0001)
		}, []string{".log", "damaged at byte 0"}},
		{"a current file that names nothing", func(t *testing.T, disk *memDisk) {
			disk.live[currentFile].data = []byte("MANIFEST-09999\n")
		}, nil},
		{"a current file of garbage", func(t *testing.T, disk *memDisk) {
			disk.live[currentFile].data = []byte("\x00\x00\x00\x00")
		}, []string{"CURRENT"}},
		{"a current file that is missing", func(t *testing.T, disk *memDisk) {
			delete(disk.live, currentFile)
		}, nil},
		{"a table that is missing", func(t *testing.T, disk *memDisk) {
			for name := range disk.live {
				if isTable(name) {
					delete(disk.live, name)
					return
				}
			}
		}, []string{"missing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := filled(t)
			c.damage(t, disk)
			before := len(disk.live)
			mustRefuse(t, disk.layer(t, Options{}), append(c.texts, "corrupt", "backup", "recover=on")...)
			if len(disk.live) < before {
				t.Errorf("the refused store has %d files, expected the %d that there were", len(disk.live), before)
			}
		})
	}
}

// A damaged table is an error of whoever reads it; a start reads the tables where others may
// have touched the database.
func TestDamagedTable(t *testing.T) {
	disk := filled(t)
	disk.corruptFiles(t, isTable, 0.2, 0.3)
	l := enginetest.Start(t, disk.layer(t, Options{}))
	_, load := l.Load()
	_, list := l.GetList("d/*")
	_, all := l.Keys()
	for name, err := range map[string]error{"Load": load, "GetList": list, "Keys": all} {
		if err == nil || !strings.Contains(err.Error(), "corrupt") || !strings.Contains(err.Error(), "recover=on") ||
			!strings.Contains(err.Error(), l.dir) {
			t.Errorf("%s: %v, expected a corrupt store", name, err)
		}
	}
	l.Close()
	delete(disk.live, revisionFile)
	mustRefuse(t, disk.layer(t, Options{}), "corrupt", "recover=on")
}

// What a crash cut short is no damage, wherever the cut is.
func TestCutShortLogIsOpened(t *testing.T) {
	whole := filled(t)
	var size int
	for name, file := range whole.live {
		if isLog(name) {
			size = len(file.data)
		}
	}
	last := 200
	for cut := 0; cut < size; cut += 211 {
		disk := newMemDisk()
		for name, file := range whole.live {
			data := file.data
			if isLog(name) {
				data = data[:len(data)-cut]
			}
			disk.live[name] = &memFile{data: bytes.Clone(data), synced: len(data)}
		}
		delete(disk.live, revisionFile) // it was not closed
		l := enginetest.Start(t, disk.layer(t, Options{}))
		list, err := l.GetList("late/*")
		if err != nil || len(list) > last {
			t.Fatalf("without the last %d bytes there are %d objects, %v, expected at most %d", cut, len(list), err, last)
		}
		for i, obj := range list { // of which Created grows in no order of paths
			if obj.Index != fmt.Sprintf("%03d", i) {
				t.Fatalf("without the last %d bytes object %d is %s", cut, i, obj.Index)
			}
		}
		last = len(list)
		l.Close()
	}
	if last > 1 {
		t.Errorf("with almost nothing of the log there are still %d objects", last)
	}
}
