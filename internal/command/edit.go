package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/meta"
	"github.com/oolith-db/oolith/storage"
)

func (a *app) editCommand() *cobra.Command {
	return &cobra.Command{
		Use:        "edit PATH",
		SuggestFor: []string{"vi", "vim", "modify"},
		Short:      "Edit an object in an editor",
		Long: `Open the data of an object in the editor that the variable VISUAL or EDITOR names, and store
what you save. If there is no object, edit creates one. Saving without a change stores nothing.
A time to live is kept.

edit never overwrites a change that somebody else made in the meantime: the exit code is then 6,
and your text stays in a file that the error names. The same happens if the text is invalid JSON
or the store rejects it.`,
		Example:           "  EDITOR=nano oolith edit config/colours",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completePaths,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.edit(cmd.Context(), args[0]) },
	}
}

func (a *app) edit(ctx context.Context, path string) error {
	// The store is not open while the editor runs. Others may use it; the revision detects their changes.
	old, err := a.peek(ctx, path)
	if err != nil {
		return err
	}
	begun := []byte("{\n}\n")
	if old.Data != nil {
		begun = pretty(old.Data)
	}
	draft, err := a.typed(ctx, path, begun)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(draft)
	if err != nil {
		return fmt.Errorf("edit %q: %w", path, err)
	}
	if bytes.Equal(text, begun) {
		if err := os.Remove(draft); err != nil {
			return err
		}
		return a.hint("nothing was changed")
	}
	if err := a.storeDraft(ctx, old, text); err != nil {
		return a.kept(path, draft, err)
	}
	if err := os.Remove(draft); err != nil {
		return fmt.Errorf("edit %q: it is stored, but the draft remains: %w", path, err)
	}
	return nil
}

// peek returns the object at a path, or one without data if there is no object or no store.
func (a *app) peek(ctx context.Context, path string) (meta.Object, error) {
	none := meta.Object{Path: path}
	store, err := a.openStore(ctx, reads)
	if errors.Is(err, errNoStore) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	defer store.Close()
	obj, err := store.Get(path)
	if errors.Is(err, storage.ErrNotFound) {
		return none, nil
	}
	return obj, err
}

// pretty formats JSON with each member on its own line.
func pretty(data []byte) []byte {
	var lines bytes.Buffer
	if json.Indent(&lines, data, "", "  ") != nil {
		return data // old databases may hold anything
	}
	return append(lines.Bytes(), '\n')
}

// typed runs the editor on a text and returns the name of the edited file.
func (a *app) typed(ctx context.Context, path string, begun []byte) (string, error) {
	editor := a.getenv("VISUAL")
	if editor == "" {
		editor = a.getenv("EDITOR")
	}
	if editor == "" {
		editor = map[bool]string{true: "notepad", false: "vi"}[runtime.GOOS == "windows"]
	}
	file, err := os.CreateTemp("", "oolith-"+strings.ReplaceAll(path[max(0, len(path)-80):], "/", "-")+"-*.json")
	if err != nil {
		return "", err
	}
	_, err = file.Write(begun)
	if err = joinErrors(err, file.Close()); err != nil {
		return "", err
	}
	if err := a.stdout.Flush(); err != nil {
		return "", err
	}
	words := strings.Fields(editor)
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], file.Name())...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stderr, a.stderr
	if a.out.file != nil {
		cmd.Stdout = a.out.file
	}
	if err := cmd.Run(); err != nil {
		err = fmt.Errorf("the editor %q failed, %w; set EDITOR to another one", editor, err)
		text, readErr := os.ReadFile(file.Name())
		if readErr == nil && bytes.Equal(text, begun) {
			return "", joinErrors(err, os.Remove(file.Name()))
		}
		return "", a.kept(path, file.Name(), err)
	}
	return file.Name(), nil
}

// storeDraft stores the edited text, unless somebody else changed the object in the meantime.
func (a *app) storeDraft(ctx context.Context, old meta.Object, text []byte) error {
	data := trimJSON(bytes.TrimPrefix(text, []byte(byteOrderMark)))
	if len(data) == 0 {
		return usage(errors.New("it is empty, expected one JSON value; use del to delete the object"))
	}
	if err := checkJSON(data); err != nil {
		return usage(err)
	}
	if compact := new(bytes.Buffer); json.Compact(compact, data) == nil {
		data = compact.Bytes()
	}
	return a.change(ctx, creates, func(store opened) (meta.Object, error) {
		return store.SetWith(old.Path, data, storage.SetOptions{IfRevision: old.Revision, IfAbsent: old.Revision == 0, KeepTTL: old.Revision != 0})
	})
}

// kept is the error of an edit that was not stored. The text is in a file.
func (a *app) kept(path, draft string, err error) error {
	next := ", then " + a.program + " set " + path + " @" + shellQuote(draft)
	if conflict, ok := errors.AsType[*storage.ConflictError](err); ok {
		state := "it was deleted in the meantime"
		if conflict.Current != 0 {
			state = fmt.Sprintf("somebody else changed it in the meantime to revision %d", conflict.Current)
			next += fmt.Sprintf(" --if-revision %d", conflict.Current)
		}
		err = &codeError{exitConflict, errors.New(state)}
		return fmt.Errorf("edit %q: %w; nothing is stored, your text is in %s; compare it with %s get %s%s", path, err, filepath.ToSlash(draft), a.program, path, next)
	}
	return fmt.Errorf("edit %q: %w; nothing is stored, your text is in %s; correct it%s", path, err, filepath.ToSlash(draft), next)
}
