package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// dataDir is a data folder that this process holds.
type dataDir struct {
	path string
	lock *os.File
}

// errHeld is wrapped by the errors that mean another process holds the folder.
var errHeld = errors.New("in use")

// holdData makes the folder if need be and takes its lock, waiting up to
// patience for another process to let go. The kernel drops the lock with the
// process, so a crash leaves nothing stale.
func holdData(ctx context.Context, path string, patience time.Duration) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w; name another with --data or the key data", err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, syscall.EROFS) {
		return nil, fmt.Errorf("open the data folder: %w; make it writable, or name another with --data or the key data", err)
	} else if err != nil {
		return nil, fmt.Errorf("open the data folder: %w; run this as the user who owns it", err)
	}
	until := time.Now().Add(patience)
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(until) {
			pid, _ := os.ReadFile(f.Name())
			f.Close()
			return nil, fmt.Errorf("the data folder %s is %w by process %s; stop that one, or give this node its own with --data", path, errHeld, or(strings.TrimSpace(string(pid)), "unknown"))
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return &dataDir{path: path, lock: f}, nil
}

func (d *dataDir) release() { d.lock.Close() }

func (d *dataDir) join(name ...string) string {
	return filepath.Join(append([]string{d.path}, name...)...)
}

// hostName returns the node's name if the configuration gives none. It is made
// once, from the machine's name and a random part, so that no two nodes share
// it, and kept in the file host.
func (d *dataDir) hostName(machine string) (string, error) {
	text, err := os.ReadFile(d.join("host"))
	if name := strings.TrimSpace(string(text)); err == nil && goodHost(name) {
		return name, nil
	} else if err == nil {
		return "", fmt.Errorf("%s holds %q, which is no host name; write one there or set the key host", d.join("host"), name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the node's name: %w", err)
	}
	name := madeHost(machine)
	if err := writeSynced(d.join("host"), []byte(name+"\n"), 0o644); err != nil {
		return "", fmt.Errorf("keep the node's name: %w", err)
	}
	return name, nil
}

// madeHost is like debian-k3x9qa.invalid (RFC 2606 §2: a name nobody owns).
func madeHost(machine string) string {
	machine, _, _ = strings.Cut(strings.ToLower(machine), ".")
	machine = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, machine)
	if machine = strings.Trim(machine, "-"); len(machine) > 30 {
		machine = strings.Trim(machine[:30], "-")
	}
	return or(machine, "node") + "-" + strings.ToLower(rand.Text()[:6]) + ".invalid"
}

// writeSynced replaces a small file so that a crash leaves the old or the new one.
func writeSynced(name string, text []byte, mode fs.FileMode) error {
	tmp := name + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

const socketName = "control.sock"

// viaDir calls fn with a path of the socket that is short enough for the kernel
// (108 octets), however long the folder's is.
func viaDir(dir string, fn func(path string) error) error {
	path := filepath.Join(dir, socketName)
	if len(path) < 100 {
		return fn(path)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return fn(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName))
}

// listenControl opens the control socket, for this user only.
func (d *dataDir) listenControl() (net.Listener, error) {
	var l net.Listener
	err := viaDir(d.path, func(path string) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var err error
		l, err = net.Listen("unix", path)
		if err != nil {
			return err
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false) // stop removes it, by its true path
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	return l, nil
}

func (d *dataDir) removeControl() { os.Remove(d.join(socketName)) }

// dialControl connects to the node that holds the folder, if one runs.
func dialControl(ctx context.Context, dir string) (net.Conn, error) {
	var conn net.Conn
	err := viaDir(dir, func(path string) (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}
