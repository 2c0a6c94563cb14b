package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/client"
	"github.com/oolith-db/oolith/key"
	"github.com/oolith-db/oolith/storage"
)

// storeInfo is the result of info, as info --json writes it.
type storeInfo struct {
	Store string `json:"store"`
	// Objects and Directories count all levels; Top counts by first segment.
	Objects     int64      `json:"objects"`
	Directories int64      `json:"directories"`
	Top         []topLevel `json:"top"`
	// Revision is that of the newest change.
	Revision uint64 `json:"revision"`
	// Oldest and Newest are creation times, Unix nanoseconds; 0 in an empty store.
	Oldest int64 `json:"oldest"`
	Newest int64 `json:"newest"`
	// DataBytes is the size of the data alone, DiskBytes that of the store's directory.
	DataBytes int64 `json:"data_bytes"`
	DiskBytes int64 `json:"disk_bytes"`
}

// topLevel counts the objects below a first segment.
type topLevel struct {
	Name        string `json:"name"`
	Objects     int64  `json:"objects"`
	Directories int64  `json:"directories"`
}

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:        "info [URL]",
		SuggestFor: []string{"status", "du"},
		Short:      "Show what is in the store",
		Long: `Show what is in the store, given by URL or --store: the number of objects and directories, in
total and for each first path segment, the newest revision, the times, and the sizes. info reads
a whole store on disk. From a server it reads the directories, and shows the size only to a
token with the verb admin.`,
		Args:              arguments(0, 1),
		ValidArgsFunction: completeStores,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.storeArgument(cmd, args); err != nil {
				return err
			}
			info, err := a.info(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return writeJSON(a.stdout, info)
			}
			return a.writeInfo(info)
		},
	}
}

// info collects what is in the store.
func (a *app) info(ctx context.Context) (info storeInfo, err error) {
	if isServer(a.storeURL) {
		info, err = a.remoteInfo(ctx)
	} else {
		info, err = a.localInfo(ctx)
	}
	info.Store = a.storeURL
	return info, err
}

func (a *app) localInfo(ctx context.Context) (storeInfo, error) {
	store, err := a.openScanner(ctx)
	if err != nil {
		return storeInfo{}, err
	}
	defer store.close()
	info, err := readInfo(ctx, store)
	if place := location(a.storeURL); err == nil && place != "" {
		info.DiskBytes, err = sizeOnDisk(place)
	}
	return info, err
}

// remoteInfo counts with the directories and reads two objects.
func (a *app) remoteInfo(ctx context.Context) (storeInfo, error) {
	info := storeInfo{Top: []topLevel{}}
	c, err := a.connect(a.storeURL)
	if err != nil {
		return info, err
	}
	store := remote{Store: c.Store(ctx)}
	err = walk(ctx, store, "", func(b branch) (bool, error) {
		if b.depth == 1 {
			info.Top = append(info.Top, topLevel{Name: b.Name})
		}
		top := &info.Top[len(info.Top)-1]
		top.Objects += int64(b.Objects)
		if b.Objects > 0 {
			top.Directories++
			info.Directories++
		}
		return true, nil
	})
	if err != nil {
		return info, err
	}
	// Objects at the top level are in no directory.
	for obj, err := range store.Iterate("*", storage.ListOptions{}) {
		if err != nil {
			return info, err
		}
		at, found := slices.BinarySearchFunc(info.Top, obj.Path, func(top topLevel, name string) int { return strings.Compare(top.Name, name) })
		if !found {
			info.Top = slices.Insert(info.Top, at, topLevel{Name: obj.Path})
		}
		info.Top[at].Objects++
	}
	for _, top := range info.Top {
		info.Objects += top.Objects
	}
	for descending, bound := range map[bool]*int64{false: &info.Oldest, true: &info.Newest} {
		page, err := store.Page(everything, storage.ListOptions{Descending: descending, Limit: 1})
		if err != nil {
			return info, err
		}
		info.Revision = max(info.Revision, page.Revision)
		for _, obj := range page.Objects {
			*bound = obj.Created
		}
	}
	stats, err := c.Stats(ctx)
	if refused, ok := errors.AsType[*client.Error](err); ok && (refused.Status == http.StatusForbidden || refused.Status == http.StatusNotFound) {
		return info, nil // the token may not see it, or it is on another address
	}
	info.DataBytes = stats.DataBytes
	return info, err
}

// readInfo counts in one scan. Its memory grows only with the number of directories.
func readInfo(ctx context.Context, store scanner) (storeInfo, error) {
	info := storeInfo{Top: []topLevel{}}
	tops := make(map[string]*topLevel)
	last, first := "", true
	for obj, err := range store.scan("") {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return info, err
		}
		name, _, _ := strings.Cut(obj.Path, "/")
		top := tops[name]
		if top == nil {
			top = &topLevel{Name: name}
			tops[name] = top
		}
		info.Objects++
		top.Objects++
		// A scan goes directory by directory. Objects at the top level are in none.
		if directory := key.Parent(obj.Path); directory != last {
			info.Directories++
			top.Directories++
			last = directory
		}
		if first || obj.Created < info.Oldest {
			info.Oldest = obj.Created
		}
		if first || obj.Created > info.Newest {
			info.Newest = obj.Created
		}
		first = false
		info.Revision = max(info.Revision, obj.Revision)
		info.DataBytes += int64(len(obj.Data))
	}
	for _, name := range slices.Sorted(maps.Keys(tops)) {
		info.Top = append(info.Top, *tops[name])
	}
	newest, err := store.revision() // includes deletes
	info.Revision = max(info.Revision, newest)
	return info, err
}

func (a *app) writeInfo(info storeInfo) error {
	rows := [][2]string{
		{"store", info.Store},
		{"objects", thousands(info.Objects)},
		{"directories", thousands(info.Directories)},
		{"newest revision", fmt.Sprint(info.Revision)},
	}
	if info.Objects > 0 {
		rows = append(rows, [2]string{"oldest object", formatTime(info.Oldest, a.out)}, [2]string{"newest object", formatTime(info.Newest, a.out)})
	}
	if info.DataBytes > 0 || !isServer(info.Store) {
		rows = append(rows, [2]string{"data", humanBytes(info.DataBytes)})
	}
	if location(info.Store) != "" {
		rows = append(rows, [2]string{"on disk", humanBytes(info.DiskBytes)})
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(a.stdout, "%-16s %s\n", row[0], row[1]); err != nil {
			return err
		}
	}
	for _, top := range info.Top {
		counts := plural(top.Objects, "object")
		if top.Directories > 0 {
			counts += " in " + directories(top.Directories)
		}
		if _, err := fmt.Fprintf(a.stdout, "  %-14s %s\n", top.Name, counts); err != nil {
			return err
		}
	}
	return nil
}

func directories(n int64) string {
	if n == 1 {
		return "1 directory"
	}
	return thousands(n) + " directories"
}
