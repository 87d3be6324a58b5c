//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/test/nodebox"
)

// room is what a small box has: a control group of 64 MiB, without swap.
const room = "67108864"

// memoryGroup makes a control group with that much memory and returns the file
// that takes a process in.
func memoryGroup(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("litfass-test-%d", os.Getpid())
	for _, v := range []struct{ dir, limit, swap string }{
		{"/sys/fs/cgroup", "memory.max", "memory.swap.max"},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"},
	} {
		dir := filepath.Join(v.dir, name)
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { os.Remove(dir) })
		if _, err := os.Stat(filepath.Join(dir, v.limit)); err != nil { // a plain folder, or no controller for memory
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, v.limit), []byte(room), 0o644); err != nil {
			continue
		}
		if v.swap == "memory.swap.max" {
			os.WriteFile(filepath.Join(dir, v.swap), []byte("0"), 0o644)
		} else {
			os.WriteFile(filepath.Join(dir, v.swap), []byte(room), 0o644)
		}
		return filepath.Join(dir, "cgroup.procs")
	}
	t.Skip("SKIP: no control group for memory can be made here: run as root, with cgroups mounted for writing")
	return ""
}

// babble writes articles as an rnews batch: words by Zipf's law from 40,000, so
// that the full-text index has work as with people's texts.
func babble(t *testing.T, file string, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	z := rand.NewZipf(r, 1.1, 4, 40_000)
	syllables := strings.Fields("ba ko li ne ru sta ver mo den tir fa gelt un schi pro lan te zu rit hol")
	word := func() string {
		var b strings.Builder
		for i := z.Uint64() + 20; i > 0; i /= uint64(len(syllables)) {
			b.WriteString(syllables[i%uint64(len(syllables))])
		}
		return b.String()
	}
	var out, a bytes.Buffer
	for i := range n {
		a.Reset()
		fmt.Fprintf(&a, "Path: x!not-for-mail\nFrom: P%d <p@x.example>\nNewsgroups: mesh.g%d\nSubject: %s %s\nMessage-ID: <b%d@x.example>\nDate: Mon, 23 Nov 2026 10:00:00 +0000\n\n",
			i%300, i%40, word(), word(), i)
		for range 40 {
			for range 8 {
				a.WriteString(word() + " ")
			}
			a.WriteByte('\n')
		}
		fmt.Fprintf(&out, "#! rnews %d\n", a.Len())
		out.Write(a.Bytes())
	}
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSmallBox: in 64 MiB a whole node, full-text search and all, takes an archive
// and indexes it, and the kernel finds nothing to kill.
func TestSmallBox(t *testing.T) {
	bin, procs, dir := litfass(t), memoryGroup(t), t.TempDir()
	boxed := filepath.Join(dir, "litfass")
	script := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *\" serve\"*) echo $$ > %s || exit 9;; esac\nexec %s \"$@\"\n", procs, bin)
	if err := os.WriteFile(boxed, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	n, err := nodebox.New(boxed, nodebox.Options{Dir: dir, More: "[spool]\ncutoff = \"36500d\""})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	defer n.Stop()
	const articles = 4000
	archive := filepath.Join(dir, "archive.rnews")
	babble(t, archive, articles)
	if _, err := n.Run("import", "--create-groups", archive); err != nil {
		t.Fatalf("%v\n%s", err, n.Log())
	}
	deadline := time.Now().Add(3 * time.Minute)
	for peak := 0; ; {
		peak = max(peak, resident(t, n.Pid()))
		out, err := n.Run("status", "--json")
		if err != nil {
			t.Fatalf("the node is gone: %v\n%s", err, n.Log())
		}
		var st struct {
			Articles  uint64 `json:"articles"`
			Followers []struct {
				Name string `json:"name"`
				Lag  uint64 `json:"lag"`
			} `json:"followers"`
		}
		if err := json.Unmarshal([]byte(out), &st); err != nil {
			t.Fatal(err)
		}
		lag := uint64(0)
		for _, f := range st.Followers {
			lag += f.Lag
		}
		if len(st.Followers) > 0 && lag == 0 {
			if st.Articles < articles {
				t.Fatalf("%d articles are there, %d were imported", st.Articles, articles)
			}
			t.Logf("anonymous memory at most %d MiB", peak>>20)
			if peak > 48<<20 {
				t.Errorf("%d MiB of 64 MiB are the node's own: the kernel has no room left for files, and kills it with a little more", peak>>20)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not indexed after 3 minutes: %s", out)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// resident is a process's anonymous memory in octets: proc(5), status.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	var kb int
	fmt.Sscanf(rest, "%d", &kb)
	return kb << 10
}
