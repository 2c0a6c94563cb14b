package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/engine"
)

// environment is everything that a command sees besides its streams.
type environment struct {
	getenv func(string) string
	// program is how the user starts this program, for examples.
	program string
	// in, out and err describe the standard streams.
	in, out, err terminal
}

// app is one run of the program.
type app struct {
	environment
	stdin  io.Reader
	stdout *bufio.Writer
	stderr io.Writer

	storeURL string
	json     bool
	readOnly bool
	// token and authorities are for a store behind a server.
	token, authorities string
	command            string // the name of the command that runs
}

const (
	storeVariable = "OOLITH_STORE"
	defaultStore  = "pebble:./oolith-data"
)

// run executes a command line and returns its exit code. It writes an error to stderr as one line.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env environment) int {
	a := &app{environment: env, stdin: stdin, stdout: bufio.NewWriter(stdout), stderr: stderr}
	running := false
	root := a.rootCommand()
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { running, a.command = true, cmd.Name() }
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(a.stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !running { // unknown commands and flags, wrong numbers of arguments
		err = usage(commandError(err))
	}
	if flushErr := a.stdout.Flush(); flushErr != nil && err == nil {
		err = fmt.Errorf("standard output: %w", flushErr)
	}
	if err != nil {
		// If standard error fails too, the exit code still reports the error.
		a.json = a.json || !running && slices.Contains(args, "--json") // flags are not read to their end
		_, _ = fmt.Fprintln(stderr, a.errorLine(err, exitCode(err)))
	}
	return exitCode(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "oolith",
		Short: "An embeddable, real-time JSON store",
		Long: `oolith imports, shows, changes, serves and exports the objects of a store.

--store or the variable ` + storeVariable + ` chooses the store, in one of these forms:
  ` + strings.Join(engine.Forms(engines...), "\n  ") + `
  http://HOST:PORT, https://HOST:PORT   a store behind a server: see "oolith serve"
The path of an existing store also works: its files tell which engine made it. A memory: store
exists only until the command ends, for example to try an import. All other stores are durable.

On a terminal, output is formatted for people. Elsewhere columns are separated by tabs and
nothing is clipped. With --json, output is JSON, one value per line. An error is one line on
standard error, or with --json one object {"error": TEXT, "code": EXIT CODE}. Each kind of error
has an exit code: see "oolith help exit-codes". On a terminal JSON is coloured, unless the
variable NO_COLOR is set.`,
		Example: `  oolith import cities.json.gz --as 'cities/{country}/*'
  oolith list 'cities/*/*' --limit 5
  oolith export 'cities/AD/*' --out andorra.jsonl`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	// The library's own flag uses a template. That would link text/template and with it every exported method of
	// every package, because the linker cannot know which methods a template calls.
	asked := root.Flags().BoolP("version", "v", false, "show the version of this program")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if *asked {
			return a.showVersion()
		}
		return cmd.Help()
	}
	store := a.getenv(storeVariable)
	if store == "" {
		store = defaultStore
	}
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().StringVar(&a.storeURL, "store", store, "the `URL` of the store, or the path of an existing one")
	complete(root, "store", completeStores)
	root.PersistentFlags().BoolVar(&a.readOnly, "read-only", false, "do not change any file of the store")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "write JSON, one value per line")
	a.addRemote(root)
	root.AddCommand(
		a.importCommand(), a.exportCommand(),
		a.getCommand(), a.setCommand(), a.pushCommand(), a.delCommand(),
		a.patchCommand(), a.editCommand(), a.mvCommand(), a.ttlCommand(),
		a.listCommand(), a.keysCommand(), a.countCommand(), a.lsCommand(), a.treeCommand(), a.watchCommand(),
		a.infoCommand(), a.statsCommand(), a.benchCommand(),
		a.copyCommand(), a.checkCommand(), a.compactCommand(),
		a.backupCommand(), a.restoreCommand(), a.verifyCommand(), a.versionCommand(),
		a.serveCommand(), a.tokenCommand(),
		topic("paths", "Paths, patterns and path templates", pathsHelp),
		topic("exit-codes", "The exit codes", "The exit codes:\n"+exitCodesHelp),
	)
	root.SetHelpCommand(helpCommand(root))
	return root
}

// helpCommand is the library's own, except that an unknown topic is an error.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help for a command or a topic",
		ValidArgsFunction: func(_ *cobra.Command, args []string, begun string) (names []string, _ cobra.ShellCompDirective) {
			for _, cmd := range root.Commands() {
				shown := cmd.IsAvailableCommand() || cmd.IsAdditionalHelpTopicCommand()
				if len(args) == 0 && shown && !cmd.Hidden && strings.HasPrefix(cmd.Name(), begun) {
					names = append(names, cmd.Name()+"\t"+cmd.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			found, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usage(fmt.Errorf("unknown help topic %q; see %q", strings.Join(args, " "), "oolith help"))
			}
			return found.Help()
		},
	}
}

// many means no limit to the number of arguments.
const many = math.MaxInt

// arguments requires from least to most arguments. Its error names the expected ones.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		return fmt.Errorf("%s: %s given, expected %s", cmd.Name(), plural(int64(len(args)), "argument"), cmd.UseLine())
	}
}

// topic is a help page without a command.
func topic(name, short, text string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Long: text}
}

const pathsHelp = `A path consists of segments joined by '/': cities/AD/2f. A segment contains A-Z a-z 0-9 - _ .
and is neither '.' nor '..'. A path has at most 1024 bytes.

A pattern is a path with '*', which matches a whole segment or part of one, but never '/':
'cities/*/*', 'cities/A*/*'. '**' as the whole last segment matches everything below:
'cities/**', and '**' matches all objects. Quote patterns, or the shell expands them to file
names. push and import --as take a '*' as the whole last segment: a new index, derived from the
time.

A path template, such as in import --as 'cities/{country}/*', builds the path of each record.
{name} is the value of a field, {a.b} that of field b in field a. The value must be a string, a
number or a boolean. A segment can have one field, with text around it: 'user-{id}'.

Values are escaped, because they may contain characters that a segment may not. Different texts
never share a segment. A number or a boolean is used as it is written: 1 and "1" are the same
text.
  A-Z a-z 0-9 - .   are kept
  _                 becomes __
  any other byte    becomes _ and two hexadecimal digits
  "." and ".."      have their dots written as _2E
  an empty value    becomes _
"São Paulo" becomes S_C3_A3o_20Paulo, "user_1" becomes user__1.`

// screen returns the terminal to format for; none with --json.
func (a *app) screen() terminal {
	if a.json {
		return terminal{}
	}
	return a.out
}

// show formats data for a terminal, if there is one.
func (a *app) show(data []byte) string {
	if a.screen().is {
		return a.screen().paint(printable(string(data)))
	}
	return string(data)
}

// showPretty is show with each member on a line of its own.
func (a *app) showPretty(data []byte) string {
	var lines bytes.Buffer
	if json.Indent(&lines, data, "", "  ") != nil {
		return a.show(data) // old databases may hold anything
	}
	if !a.screen().is {
		return lines.String()
	}
	shown := make([]string, 0, 8)
	for line := range strings.SplitSeq(lines.String(), "\n") {
		shown = append(shown, a.screen().paint(printable(line)))
	}
	return strings.Join(shown, "\n")
}

// programName is how the user started the program, for examples that can be repeated.
func programName() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/oolith"
	}
	return "oolith"
}

// joinClose closes what a failed operation leaves open.
func joinClose(err error, closer io.Closer) error {
	return joinErrors(err, closer.Close())
}

// joinErrors joins two errors, either of which may be nil.
func joinErrors(err, second error) error {
	switch {
	case err == nil:
		return second
	case second == nil:
		return err
	}
	return errors.Join(err, second)
}
