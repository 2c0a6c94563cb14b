package command

import (
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
		RunE:  func(*cobra.Command, []string) error { return a.showVersion() },
	}
}

func (a *app) showVersion() error {
	if a.json {
		return writeJSON(a.stdout, version())
	}
	_, err := fmt.Fprintln(a.stdout, versionLine())
	return err
}

// version is that of this program.
func version() versionInfo {
	build, ok := debug.ReadBuildInfo()
	if !ok { // a build outside of modules
		build = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return readVersion(build)
}

// versionLine is what version shows, and --version.
func versionLine() string {
	info := version()
	line := "oolith " + info.Version
	if info.Revision != "" {
		line += " (" + info.Revision + ")"
	}
	return fmt.Sprintf("%s, %s, %s", line, info.Go, info.Platform)
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
