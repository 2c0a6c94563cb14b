package command

import (
	"context"
	"fmt"

	"github.com/oolith-db/oolith/meta"
)

// Copying into a store behind a server, by commits. Each is durable once it is acknowledged, and the copy relies on
// that, because others may write there at the same time.

// send stores the objects of the source and returns the checksum of the stored ones, without revisions.
func (c *copier) send(ctx context.Context) (digest, error) {
	to, err := c.connect(c.to)
	if err != nil {
		return digest{}, err
	}
	store := remote{to.Store(ctx), c.readOnly}
	if !c.into {
		count, err := store.Count(everything)
		if err == nil && count > 0 {
			err = fmt.Errorf("it holds %s, expected an empty store; --into merges into it", plural(int64(count), "object"))
		}
		if err != nil {
			return digest{}, fmt.Errorf("store %s: %w", c.to, err)
		}
	}
	if c.ifExists == failOnExisting {
		if err := c.mustNotMeet(ctx, store); err != nil {
			return digest{}, fmt.Errorf("store %s: %w", c.to, err)
		}
	}
	var sum digest
	err = c.put(ctx, store, func(j job) {
		sum.add(&meta.Object{Path: j.path, Data: j.data, Created: j.times.Created, Updated: j.times.Updated, Expires: j.expires})
	})
	if err != nil {
		return digest{}, c.stopped(err)
	}
	return sum, nil
}
