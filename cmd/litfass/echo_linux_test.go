package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHushed: a terminal does not show a password, and shows what comes after.
func TestHushed(t *testing.T) {
	host, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("SKIP: no terminals here: %v", err)
	}
	defer host.Close()
	if err := unix.IoctlSetPointerInt(int(host.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(host.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIP: no terminals here: %v", err)
	}
	defer tty.Close()
	echoes := func() bool {
		s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return s.Lflag&unix.ECHO != 0
	}
	for range 2 {
		if !echoes() {
			t.Fatal("the terminal is silent")
		}
		got, err := hushed(t.Context(), tty, func() (string, error) {
			if echoes() {
				t.Error("the terminal shows what is typed")
			}
			return "geheim", nil
		})
		if got != "geheim" || err != nil {
			t.Error(got, err)
		}
	}
	if got, err := hushed(t.Context(), strings.NewReader("x"), func() (string, error) { return "x", nil }); got != "x" || err != nil {
		t.Error("no terminal:", got, err)
	}
}
