package main

import (
	"os"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/cluster/etcdserver"
)

func TestMain(m *testing.M) {
	etcdserver.SmallFiles()
	etcdserver.RunMember()
	os.Exit(m.Run())
}

// TestRun runs every section small. No figure is judged.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run([]string{"-quick", "-dir", t.TempDir()}, &out); err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(out.String(), "\n"); rows != 14 {
		t.Errorf("%d rows, want 14:\n%s", rows, out.String())
	}
}
