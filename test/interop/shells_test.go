//go:build interop

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// completion writes the script for a shell into a folder where litfass can be found.
func completion(t *testing.T, shell string) (dir, script string) {
	t.Helper()
	out, err := exec.Command(litfass(t), "completion", shell).Output()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	script = filepath.Join(dir, "complete")
	write(t, script, string(out))
	if err := os.Symlink(litfass(t), filepath.Join(dir, "litfass")); err != nil {
		t.Fatal(err)
	}
	return dir, script
}

// TestCompletionBash asks bash's own completion what may follow.
func TestCompletionBash(t *testing.T) {
	bash := need(t, "bash", "bash")
	dir, script := completion(t, "bash")
	for line, want := range map[string]string{
		"litfass gro": "group", "litfass --data x peer a": "add", "litfass peer add --ke": "--key", "litfass user set joe --day-a": "--day-articles",
	} {
		words := strings.Fields(line)
		do := `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _litfass; printf '%s\n' "${COMPREPLY[@]}"`
		out := run(t, dir, "", bash, append([]string{"-c", do, script}, words...)...)
		if strings.TrimSpace(out) != want {
			t.Errorf("%q: %q, want %q", line, out, want)
		}
	}
}

// TestCompletionFish does the same with fish.
func TestCompletionFish(t *testing.T) {
	fish := need(t, "fish", "fish")
	dir, script := completion(t, "fish")
	for line, want := range map[string]string{
		"litfass gro": "group", "litfass peer ad": "add", "litfass peer add --ke": "--key",
	} {
		out := run(t, dir, "", fish, "--no-config", "-c", "set PATH "+dir+" $PATH; source "+script+"; complete -C '"+line+"'")
		found := false
		for l := range strings.Lines(out) {
			word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
			found = found || word == want
		}
		if !found {
			t.Errorf("%q: %q, want %q", line, out, want)
		}
	}
}

// TestCompletionZsh types and presses the tabulator.
func TestCompletionZsh(t *testing.T) {
	zsh := need(t, "zsh", "zsh")
	dir, script := completion(t, "zsh")
	s := newScreen(t, "cd "+dir+"; HOME="+dir+" PATH="+dir+":$PATH "+zsh+" -f -i")
	s.keys("-l", "PS1='ready> '; autoload -Uz compinit && compinit -u -D && source "+script+" && clear")
	s.keys("Enter")
	s.see("ready>")
	s.keys("-l", "litfass gro")
	s.keys("Tab")
	s.see("litfass group")
	s.keys("-l", "loa")
	s.keys("Tab")
	s.see("litfass group load")
	s.keys("-l", "--", "--onl")
	s.keys("Tab")
	s.see("litfass group load --only")
}
