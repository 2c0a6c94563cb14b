package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionInfo is what version tells; its JSON is what version --json writes.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Args:  arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			build, ok := debug.ReadBuildInfo()
			if !ok {
				return errors.New("version: this program was built without build information, expected a build of a module")
			}
			info := readVersion(build)
			if a.json {
				return writeJSON(a.stdout, info)
			}
			line := "oolith " + info.Version
			if info.Revision != "" {
				line += " (" + info.Revision + ")"
			}
			_, err := fmt.Fprintf(a.stdout, "%s, %s, %s\n", line, info.Go, info.Platform)
			return err
		},
	}
}

// readVersion picks the version of the module and of its source out of a build.
func readVersion(build *debug.BuildInfo) versionInfo {
	info := versionInfo{Version: build.Main.Version, Go: build.GoVersion, Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info.Version == "" {
		info.Version = "(devel)"
	}
	for _, setting := range build.Settings {
		if setting.Key == "vcs.revision" {
			info.Revision = setting.Value
		}
	}
	return info
}
