package main

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// hushed runs ask while the terminal that in is does not show what is typed. It shows
// it again when ask returns, or when a signal ends ctx before.
func hushed(ctx context.Context, in io.Reader, ask func() (string, error)) (string, error) {
	f, ok := in.(*os.File)
	if !ok {
		return ask()
	}
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil { // no terminal
		return ask()
	}
	quiet := *old
	quiet.Lflag = quiet.Lflag&^unix.ECHO | unix.ECHONL
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return ask()
	}
	loud := func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) } // nothing is left to try
	defer loud()
	defer context.AfterFunc(ctx, loud)()
	return ask()
}

// columns is how wide the terminal is that w writes to; 0: it is none, or does not say.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(w) {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
