package sqlite

import (
	"testing"

	"github.com/oolith-db/oolith/engine/internal/enginetest"
)

func TestKill(t *testing.T) {
	enginetest.TestKill(t, map[string]func(dir string) enginetest.Layer{
		"plain": func(dir string) enginetest.Layer { return New(in(dir), Options{longLog: shortLog}) },
	})
}
