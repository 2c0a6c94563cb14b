package engine

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/sqlite"
	"github.com/oolith-db/oolith/storage"
)

func TestOpenSQLite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data.db")
	for _, url := range []string{"sqlite:" + file, "sqlite:" + file + "?", "sqlite:" + file + "?sync=off&cache=8MiB"} {
		config, err := Config(url)
		if err != nil || config.Memory == nil {
			t.Fatalf("%s: the config is %+v, %v", url, config, err)
		}
		if _, ok := config.Embedded.(*sqlite.Layer); !ok {
			t.Errorf("%s opens a %T", url, config.Embedded)
		}
		if err := config.Embedded.Start(storage.LayerOptions{}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		config.Embedded.Close()
	}
	for url, text := range map[string]string{
		"sqlite:":                  "expected sqlite:FILE",
		"sqlite:data.db?sync=soon": "on or off",
		"sqlite:data.db?page=1":    `unknown option "page"`,
	} {
		if _, err := Open(url); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, expected %q", url, err, text)
		}
	}
}

func TestSQLiteOptions(t *testing.T) {
	var options sqlite.Options
	err := setOptions(sqliteOptions, &options, map[string][]string{"sync": {"off"}, "cache": {"8MiB"}})
	if err != nil || options.Durability != sqlite.DurabilityNoSync || options.CacheSize != 8<<20 {
		t.Errorf("the options are %+v, %v", options, err)
	}
	options = sqlite.Options{}
	err = setOptions(sqliteOptions, &options, map[string][]string{"sync": {"on"}})
	if err != nil || options.Durability != sqlite.DurabilitySync {
		t.Errorf("the options are %+v, %v", options, err)
	}
}
