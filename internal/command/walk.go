package command

import (
	"context"

	"github.com/oolith-db/oolith/storage"
)

// branch is a directory on a walk through all of them.
type branch struct {
	path string
	storage.Directory
	depth int // 1 directly below where the walk began
}

// walk calls a function for each directory below a path, "" for the top, each before those in it, by name. Where the function
// reports false, what is in the directory is left out.
func walk(ctx context.Context, store opened, path string, each func(branch) (bool, error)) error {
	return walkFrom(ctx, store, path, 1, each)
}

func walkFrom(ctx context.Context, store opened, path string, depth int, each func(branch) (bool, error)) error {
	directories, err := store.Directories(path)
	if err != nil {
		return err
	}
	within := path
	if within != "" {
		within += "/"
	}
	for _, directory := range directories {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := branch{within + directory.Name, directory, depth}
		deeper, err := each(b)
		if err == nil && deeper && directory.Directories > 0 {
			err = walkFrom(ctx, store, b.path, depth+1, each)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
