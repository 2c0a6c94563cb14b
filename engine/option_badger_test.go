package engine

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oolith-db/oolith/engine/badger"
	"github.com/oolith-db/oolith/storage"
)

func TestBadgerOptions(t *testing.T) {
	for _, c := range []struct {
		query map[string][]string
		check func(o badger.Options) bool
	}{
		{nil, func(o badger.Options) bool {
			return o.Durability == badger.DurabilitySync && !o.SkipVerify && o.GCInterval == 0
		}},
		{map[string][]string{"sync": {"off"}, "cache": {"8MiB"}}, func(o badger.Options) bool {
			return o.Durability == badger.DurabilityNoSync && o.CacheSize == 8<<20
		}},
		{map[string][]string{"sync": {"on"}, "verify": {"off"}}, func(o badger.Options) bool {
			return o.Durability == badger.DurabilitySync && o.SkipVerify
		}},
		{map[string][]string{"key-file": {"/a/key"}}, func(o badger.Options) bool { return o.KeyFile == "/a/key" }},
		{map[string][]string{"key-env": {"KEY"}}, func(o badger.Options) bool { return o.KeyEnv == "KEY" }},
		{map[string][]string{"gc": {"off"}}, func(o badger.Options) bool { return o.GCInterval < 0 }},
		{map[string][]string{"gc": {"90s"}}, func(o badger.Options) bool { return o.GCInterval == 90*time.Second }},
	} {
		var o badger.Options
		if err := setOptions(badgerOptions, &o, c.query); err != nil || !c.check(o) {
			t.Errorf("%v sets %+v, %v", c.query, o, err)
		}
	}
	for _, c := range []struct{ url, text string }{
		{"badger:", "nothing after the scheme"},
		{"badger:./data?key=secret", `unknown option "key"`},
		{"badger:./data?key-file=", "nothing is given"},
		{"badger:./data?key-env=", "nothing is given"},
		{"badger:./data?gc=soon", "off or a time such as 5m"},
		{"badger:./data?gc=-5m", "not positive"},
		{"badger:./data?verify=maybe", "on or off"},
	} {
		if _, err := Open(c.url); !errors.Is(err, ErrInvalidURL) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, expected %q", c.url, err, c.text)
		}
	}
}

// A store by URL, plain and with a key in a file and in the environment.
func TestOpenBadger(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OOLITH_TEST_KEY", strings.Repeat("k", 32))
	plain, sealed := filepath.Join(t.TempDir(), "plain"), filepath.Join(t.TempDir(), "sealed")
	for _, url := range []string{
		"badger:" + plain, "badger:" + plain + "?sync=off&cache=8MiB&gc=off&verify=off",
		"badger:" + sealed + "?key-file=" + key, "badger:" + sealed + "?key-env=OOLITH_TEST_KEY",
	} {
		config, err := Config(url)
		if err != nil || config.Memory == nil {
			t.Fatalf("%s: the config is %+v, %v", url, config, err)
		}
		if err := config.Embedded.Start(storage.LayerOptions{}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		config.Embedded.Close()
	}
	layer, err := Open("badger:" + sealed)
	if err != nil {
		t.Fatal(err)
	}
	if err := layer.Start(storage.LayerOptions{}); err == nil || !strings.Contains(err.Error(), "a key is needed") {
		t.Errorf("the sealed store without its key: %v", err)
	}
}
