package command

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
	"github.com/oolith-db/oolith/storagetest"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.days()
	c.run("check").ok().contains(c.store + ": 4 objects, no problems, checked in ")
	c.run("check", "--json").ok().contains(`{"store":"` + c.store + `","objects":4,"problems":0,"seconds":`)
	c.run("del", "*/*", "--yes").ok()
	c.run("del", "*/*/*", "--yes").ok()
	c.run("check").ok().contains(": 0 objects, no problems")
}

// TestCheckOfADamagedFile changes bytes in the tables of a store.
func TestCheckOfADamagedFile(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.input(manyObjects(5000), "import", "-", "--quiet").ok()
	c.run("compact").ok()
	tables, err := filepath.Glob(c.directory() + "/*.sst")
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables: %q, %v", tables, err)
	}
	content, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		content[len(content)/3+i] ^= 0x55
	}
	if err := os.WriteFile(tables[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	r := c.run("check").is(exitDamaged, "store "+c.store+": 1 problem found").contains(`nothing can be read behind key "d`, " objects intact, checked in ")
	if strings.Count(r.out, "\n") != 2 {
		t.Errorf("the output is %q, want a line for the problem and one for the summary", r.out)
	}
	c.run("check", "--json").is(exitDamaged, "1 problem found").contains(`{"problem":"nothing can be read behind key \"d`, `"problems":1,`)
}

// TestCheckTellsWhatIsNoUTF8 has what only an old database or another program can hold: it is read, and told.
func TestCheckTellsWhatIsNoUTF8(t *testing.T) {
	t.Parallel()
	layer := storagetest.NewBatchLayer(&storagetest.Disk{}, "d")
	err := layer.Start(storage.LayerOptions{})
	for path, data := range map[string]string{"d/1": "\"\xff\"", "d/2": `"\ud800é"`, "d/3": "{\"a\":\"b\xc3\"}"} {
		err = joinErrors(err, layer.Set(path, &meta.Object{Created: 1, Data: []byte(data)}))
	}
	layer.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, err := checkLayer(t.Context(), layer)
	if err == nil || !strings.Contains(err.Error(), "2 problems found") || strings.Count(out, "\n") != 3 ||
		!strings.Contains(out, `key "d/1": its data is not UTF-8, byte 0xff at offset 1`) ||
		!strings.Contains(out, `key "d/3": its data is not UTF-8, byte 0xc3 at offset 7`) || !strings.Contains(out, "1 object intact") {
		t.Errorf("check: %v\n%s", err, out)
	}
	store := storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer(), Embedded: layer})
	if err := store.Start(storage.Options{}); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if obj, err := store.Get("d/1"); err != nil || string(obj.Data) != "\"\xff\"" {
		t.Errorf("Get = %q, %v", obj.Data, err)
	}
}

// checkLayer checks a layer that is not started.
func checkLayer(ctx context.Context, layer storage.EmbeddedLayer) (out string, err error) {
	var b bytes.Buffer
	a := &app{stdout: bufio.NewWriter(&b), storeURL: "test:"}
	err = a.check(ctx, layer)
	err = joinErrors(err, a.stdout.Flush())
	return b.String(), err
}

// misled is a layer that answers wrongly.
type misled struct {
	*storagetest.BatchLayer
	keys func([]string) []string
	scan func([]meta.Object) []meta.Object
}

func (l *misled) Keys() ([]string, error) {
	keys, err := l.BatchLayer.Keys()
	if err == nil && l.keys != nil {
		keys = l.keys(keys)
	}
	return keys, err
}

func (l *misled) Scan(pattern string) iter.Seq2[meta.Object, error] {
	return func(yield func(meta.Object, error) bool) {
		var all []meta.Object
		for obj, err := range l.BatchLayer.Scan(pattern) {
			if err != nil {
				yield(obj, err)
				return
			}
			all = append(all, obj)
		}
		if l.scan != nil {
			all = l.scan(all)
		}
		for _, obj := range all {
			if !yield(obj, nil) {
				return
			}
		}
	}
}

func TestCheckComparesKeysAndObjects(t *testing.T) {
	for _, test := range []struct {
		name string
		harm func(l *misled)
		want []string
	}{
		{"nothing is wrong", func(*misled) {}, nil},
		{"keys out of order", func(l *misled) {
			l.keys = func(keys []string) []string { keys[2], keys[3] = keys[3], keys[2]; return keys }
		}, []string{`keys: "d/00002" comes after "d/00003", expected byte order`}},
		{"a key too few", func(l *misled) {
			l.keys = func(keys []string) []string { return slices.Delete(keys, 4, 5) }
		}, []string{`scan: "d/00004" is not among the keys`, "the check counts 10 objects, the scan 10, the list of keys 9"}},
		{"a key too many", func(l *misled) {
			l.keys = func(keys []string) []string { return append(keys, "d/9") }
		}, []string{`keys: there is no object at "d/9"`, "the check counts 10 objects, the scan 10, the list of keys 11"}},
		{"a scan out of order", func(l *misled) {
			l.scan = func(all []meta.Object) []meta.Object { all[2], all[3] = all[3], all[2]; return all }
		}, []string{`scan: "d/00002" comes after "d/00003", expected the order of directory and name`}},
		{"an object twice", func(l *misled) {
			l.scan = func(all []meta.Object) []meta.Object { return append(all, all[9]) }
		}, []string{`scan: "d/00009" occurs twice`, `scan: "d/00009" comes after "d/00009"`, "the check counts 10 objects, the scan 11, the list of keys 10"}},
		{"an object too few", func(l *misled) {
			l.scan = func(all []meta.Object) []meta.Object { return all[1:] }
		}, []string{`keys: there is no object at "d/00000"`, "the check counts 10 objects, the scan 9, the list of keys 10"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &misled{BatchLayer: storagetest.NewBatchLayer(&storagetest.Disk{}, "d")}
			diskWith(t, l, 10)
			test.harm(l)
			out, err := checkLayer(t.Context(), l)
			lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			if len(lines) != len(test.want)+1 {
				t.Fatalf("the output is\n%s\nwant %d problems", out, len(test.want))
			}
			for i, want := range test.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("problem %d is %q, want %q", i, lines[i], want)
				}
			}
			want := exitOK
			if len(test.want) > 0 {
				want = exitDamaged
			}
			if got := exitCode(err); got != want {
				t.Errorf("exit code %d, want %d", got, want)
			}
			if l.Active() {
				t.Error("the layer is left open")
			}
		})
	}
}

// TestCheckOfLayers checks layers with an examination of their own and without.
func TestCheckOfLayers(t *testing.T) {
	disk := &storagetest.Disk{}
	batch, plain := storagetest.NewBatchLayer(disk, "batch"), storagetest.NewPlainLayer(disk, "plain")
	for name, layer := range map[string]storage.EmbeddedLayer{"batch": batch, "plain": plain} {
		diskWith(t, layer, 10)
		if out, err := checkLayer(t.Context(), layer); err != nil || !strings.HasPrefix(out, "test:: 10 objects, no problems") {
			t.Errorf("%s: %q, %v", name, out, err)
		}
		for _, path := range []string{"d/00002", "d/00005"} {
			if err := disk.Corrupt(name, path); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, err := checkLayer(t.Context(), batch)
	checkError(t, err, "store test:: 2 problems found")
	for _, want := range []string{`key "d/00002"`, `key "d/00005"`, "test:: 8 objects intact"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
	out, err = checkLayer(t.Context(), plain)
	checkError(t, err, "store test:: 1 problem found") // it cannot go on
	if !strings.Contains(out, `key "d/0000`) {
		t.Errorf("no key in %q", out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, layer := range []storage.EmbeddedLayer{batch, plain} {
		if _, err := checkLayer(ctx, layer); exitCode(err) != exitInterrupted {
			t.Errorf("with a context that is done: %v", err)
		}
	}
}

// TestCheckOfAnIncompleteStore shows that what is there is examined all the same.
func TestCheckOfAnIncompleteStore(t *testing.T) {
	l := storagetest.NewBatchLayer(&storagetest.Disk{}, "d")
	diskWith(t, l, 10)
	if err := errors.Join(l.Start(storage.LayerOptions{}), l.MarkIncomplete("restore of Tuesday")); err != nil {
		t.Fatal(err)
	}
	l.Close()
	out, err := checkLayer(t.Context(), l)
	checkError(t, err, "1 problem found")
	if !strings.Contains(out, "restore of Tuesday\n") || !strings.Contains(out, "10 objects intact") {
		t.Errorf("the output is %q", out)
	}
}
