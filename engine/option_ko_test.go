package engine

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/oolith-db/oolith/engine/ko"
	"github.com/oolith-db/oolith/storage"
)

func TestKoOptions(t *testing.T) {
	for query, want := range map[string]ko.Options{
		"sync=on&recover=off&invalid=refuse": {},
		"sync=off":                           {Durability: ko.DurabilityNoSync},
		"cache=8MiB":                         {CacheSize: 8 << 20},
		"recover=on&invalid=skip":            {Recover: true, SkipInvalid: true},
		"sync=off&cache=1GiB&recover=on&invalid=refuse": {Durability: ko.DurabilityNoSync, CacheSize: 1 << 30, Recover: true},
	} {
		values := map[string][]string{}
		for pair := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			values[name] = []string{value}
		}
		var options ko.Options
		if err := setOptions(koOptions, &options, values); err != nil || options != want {
			t.Errorf("%s sets %+v, %v, expected %+v", query, options, err, want)
		}
	}
}

func TestOpenKo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	layer, err := Open("ko:" + dir + "?cache=8MiB&recover=on&invalid=skip")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := layer.(*ko.Layer); !ok {
		t.Errorf("ko: opens a %T", layer)
	}
	if err := layer.Start(storage.LayerOptions{}); err != nil {
		t.Error(err)
	}
	layer.Close()
	for url, text := range map[string]string{
		"ko:":                       "ko:DIRECTORY",
		"ko:" + dir + "?invalid=on": "expected refuse or skip",
		"ko:" + dir + "?recover=1":  "expected on or off",
		"ko:" + dir + "?repair=on":  "recover=(on or off)",
	} {
		if _, err := Open(url); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, expected %q", url, err, text)
		}
	}
}
