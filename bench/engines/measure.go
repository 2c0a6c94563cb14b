package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oolith-db/oolith/engine"
	"github.com/oolith-db/oolith/engine/all"
	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

const (
	perList  = 1000 // objects in a directory
	dataSize = 150  // bytes
)

func path(i int) string { return fmt.Sprintf("devices/%06d/readings/%08d", i/perList, i) }

func body(i int) []byte {
	data := fmt.Appendf(nil, `{"device":%d,"celsius":%d.5,"note":"`, i/perList, i%40)
	for len(data) < dataSize-2 {
		data = append(data, "abcdefghijklmnopqrstuvwxyz"[(i+len(data)*7)%26])
	}
	return append(data, `"}`...)
}

// measure measures one phase of the engine at a URL.
func measure(phase, url string, objects int, round time.Duration) (figures, error) {
	switch phase {
	case "writes":
		return measureWrites(url, round)
	case "fill":
		return measureFill(url, objects)
	case "load":
		return measureLoad(url, objects)
	case "open":
		return measureOpen(url, objects)
	}
	return nil, fmt.Errorf("unknown phase %q, expected writes, fill, load or open", phase)
}

// open starts a store, with memory or without.
func open(url string, memory bool) (*storage.Layered, error) {
	config, err := engine.Config(url, all.Engines()...)
	if err != nil {
		return nil, err
	}
	if !memory {
		config.Memory = nil
	}
	store := storage.New(config)
	return store, store.Start(storage.Options{})
}

// measureWrites counts the sets of 1 and of 64 writers, durable and relaxed, in separate stores.
func measureWrites(url string, round time.Duration) (figures, error) {
	result := figures{}
	for _, mode := range []struct{ name, options string }{{"durable", ""}, {"relaxed", "?sync=off"}} {
		for _, writers := range []int{1, 64} {
			name := fmt.Sprintf("%s %d", mode.name, writers)
			dir, place := filepath.Split(url)
			own := filepath.Join(dir[strings.Index(dir, ":")+1:], strings.ReplaceAll(name, " ", "-"))
			if err := os.Mkdir(own, 0o700); err != nil {
				return nil, err
			}
			scheme, _, _ := strings.Cut(url, ":")
			store, err := open(scheme+":"+filepath.Join(own, place)+mode.options, true)
			if err != nil {
				return nil, err
			}
			result[name], err = setsPerSecond(store, writers, round)
			store.Close()
			if err = errors.Join(err, os.RemoveAll(own)); err != nil {
				return nil, err
			}
		}
	}
	return result, nil
}

func setsPerSecond(store *storage.Layered, writers int, round time.Duration) (float64, error) {
	var done atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, writers)
	begin := time.Now()
	for w := range writers {
		group.Go(func() {
			for i := w; time.Since(begin) < round; i += writers {
				if _, errs[w] = store.Set(path(i%100_000), body(i)); errs[w] != nil {
					return
				}
				done.Add(1)
			}
		})
	}
	group.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), errors.Join(errs...)
}

// measureFill writes all objects, in batches, and measures their size on disk.
func measureFill(url string, objects int) (figures, error) {
	layer, err := engine.Open(url, all.Engines()...)
	if err != nil {
		return nil, err
	}
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		return nil, err
	}
	batcher, ok := layer.(storage.Batcher)
	if !ok {
		return nil, fmt.Errorf("%T has no batches", layer)
	}
	payload := 0
	changes := make([]storage.Change, 0, 5000)
	for i := range objects {
		p := path(i)
		obj := &meta.Object{Created: 1_700_000_000_000_000_000 + int64(i), Path: p, Data: body(i), Revision: uint64(i + 1)}
		payload += len(p) + len(obj.Data)
		changes = append(changes, storage.Change{Key: p, Object: obj, Revision: obj.Revision})
		if len(changes) == cap(changes) || i == objects-1 {
			if err := batcher.Commit(changes); err != nil {
				return nil, err
			}
			changes = changes[:0]
		}
	}
	layer.Close()
	size, err := sizeOf(url)
	return figures{"disk": float64(size-int64(payload)) / float64(objects)}, err
}

// sizeOf adds up the files of a store.
func sizeOf(url string) (size int64, err error) {
	_, place, _ := strings.Cut(url, ":")
	if info, err := os.Stat(place); err != nil || !info.IsDir() {
		place = filepath.Dir(place)
	}
	err = filepath.WalkDir(place, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += blocksOf(info)
		}
		return err
	})
	return size, err
}

// measureLoad starts a store with memory.
func measureLoad(url string, objects int) (figures, error) {
	begin := time.Now()
	store, err := open(url, true)
	if err != nil {
		return nil, err
	}
	took := time.Since(begin)
	defer store.Close()
	if found := store.Stats().Objects; found != objects {
		return nil, fmt.Errorf("%d objects are there, expected %d", found, objects)
	}
	peak, err := memoryOf("VmHWM:")
	// The approximate memory that a store keeps for an object: path, data, and the overhead that bench measures.
	kept := float64(objects) * (dataSize + float64(len(path(0))) + 240) / 1e6
	return figures{"load": float64(objects) / took.Seconds(), "rss load": max(peak-kept, 0)}, err
}

// measureOpen starts a store without memory, and reads.
func measureOpen(url string, objects int) (figures, error) {
	store, err := open(url, false)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	const reads, lists = 20_000, 200
	begin := time.Now()
	for i := range reads {
		if _, err := store.Get(path(i * 7919 % objects)); err != nil {
			return nil, err
		}
	}
	get := time.Since(begin)
	begin = time.Now()
	for i := range lists {
		found, err := store.GetList(fmt.Sprintf("devices/%06d/readings/*", i*37%(objects/perList)))
		if err != nil {
			return nil, err
		}
		if len(found) != perList {
			return nil, fmt.Errorf("a list of %d, expected %d", len(found), perList)
		}
	}
	list := time.Since(begin)
	rss, err := memoryOf("VmRSS:")
	return figures{
		"get": float64(get.Microseconds()) / reads, "list": float64(list.Microseconds()) / lists, "rss open": rss,
	}, err
}

// memoryOf reads a memory statistic of this process from Linux, in MB.
func memoryOf(name string) (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kilobytes, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kilobytes * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no line %s", name)
}

// footprint builds a program with an engine and one without, and counts modules.
func footprint(c contender) (figures, error) {
	with, err := sizeOfProgram(c.pkg)
	if err != nil {
		return nil, err
	}
	without, err := sizeOfProgram("github.com/oolith-db/oolith/storage")
	if err != nil {
		return nil, err
	}
	modules, err := modulesOf(c.pkg)
	if err != nil {
		return nil, err
	}
	base, err := modulesOf("github.com/oolith-db/oolith/storage")
	return figures{"binary": float64(with-without) / 1e6, "modules": float64(modules - base)}, err
}

// sizeOfProgram links a program that uses a package, stripped.
func sizeOfProgram(pkg string) (int64, error) {
	dir, err := os.MkdirTemp(".", "footprint-") // in this module, to be built with its versions
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	use := map[string]string{
		"pebble": "pebble.New(``, pebble.Options{}).Start(storage.LayerOptions{})",
		"sqlite": "sqlite.New(``, sqlite.Options{}).Start(storage.LayerOptions{})",
		"badger": "badger.New(``, badger.Options{}).Start(storage.LayerOptions{})",
		"ko":     "ko.New(``, ko.Options{}).Start(storage.LayerOptions{})",
	}[filepath.Base(pkg)]
	imported := fmt.Sprintf("import %q\n", pkg)
	if use == "" {
		use, imported = "storage.New(storage.LayeredConfig{Memory: storage.NewMemoryLayer()}).Start(storage.Options{})", ""
	}
	source := "package main\n\nimport \"github.com/oolith-db/oolith/storage\"\n" + imported + "\nfunc main() { println(" + use + " != nil) }\n"
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		return 0, err
	}
	binary := filepath.Join(dir, "program")
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, "./"+dir).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// modulesOf counts the modules that a package is built from.
func modulesOf(pkg string) (int, error) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", pkg).Output()
	if err != nil {
		return 0, err
	}
	modules := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" {
			modules[line] = true
		}
	}
	return len(modules), nil
}
