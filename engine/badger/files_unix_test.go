//go:build unix

package badger

import (
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

func TestFiles(t *testing.T) {
	enginetest.TestFiles(t, func(place string) enginetest.Layer { return New(place, small()) })
}
