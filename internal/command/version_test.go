package command

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	c := newCLI(t)
	c.run("version").ok().contains("oolith ", runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	var info versionInfo
	if err := json.Unmarshal([]byte(c.run("version", "--json").ok().out), &info); err != nil {
		t.Fatal(err)
	}
	if info.Version == "" || info.Go != runtime.Version() {
		t.Errorf("version as JSON: %+v", info)
	}
}

func TestReadVersion(t *testing.T) {
	build := &debug.BuildInfo{GoVersion: "go1.26", Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}}}
	if got := readVersion(build); got.Version != "(devel)" || got.Revision != "abc" || got.Go != "go1.26" {
		t.Errorf("without a version: %+v", got)
	}
	build.Main.Version = "v1.2.3"
	if got := readVersion(build); got.Version != "v1.2.3" {
		t.Errorf("with a version: %+v", got)
	}
}
