package etcdserver

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Process is a process that runs until it is killed.
type Process struct {
	cmd    *exec.Cmd
	stderr tail
	ended  chan struct{} // closed once it ended
	err    error         // how; set before ended is closed
}

// StartProcess starts a process. Enter calls start in the environment in which the process is started; nil for the
// current one. The process calls EndWithParent.
func StartProcess(cmd *exec.Cmd, enter func(start func() error) error) (*Process, error) {
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stderr = &p.stderr
	if _, err := cmd.StdinPipe(); err != nil { // open until this process ends
		return nil, err
	}
	if enter == nil {
		enter = func(start func() error) error { return start() }
	}
	if err := enter(cmd.Start); err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// EndWithParent ends this process once the process that started it with StartProcess has ended. A test process that
// etcd or a timeout ends cannot stop its members: they would run on and keep their disk space.
func EndWithParent() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // an error is an end, too
		os.Exit(1)
	}()
}

// Kill kills the process and returns once it has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // unless it ended by itself
	<-p.ended
}

// Lost returns an error with the end of the process's error output if the process has ended; nil if it runs.
func (p *Process) Lost() error {
	select {
	case <-p.ended:
		return fmt.Errorf("ended by itself, %s: %s", p.cmd.ProcessState, &p.stderr)
	default:
		return nil
	}
}
