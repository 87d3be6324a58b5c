package main

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// heapLimitOf is the soft limit of the heap in a machine or a container with
// room octets of memory: three eighths of it, because the kernel wants pages for
// the program and for the files it maps, but not under 16 MiB, with which the
// collector would do nothing else, and not over heapLimit. 0: unknown.
func heapLimitOf(room int64) int64 {
	if room <= 0 {
		return heapLimit
	}
	return min(heapLimit, max(16<<20, room/8*3))
}

// heapBound is what the heap is kept under, in octets: what the environment's
// GOMEMLIMIT says, else what the memory that is there allows.
func heapBound(getenv func(string) string) int64 {
	if getenv("GOMEMLIMIT") != "" {
		return max(1<<20, min(heapLimit, debug.SetMemoryLimit(-1)))
	}
	return heapLimitOf(memoryRoom("/"))
}

// memoryRoom is how much memory this process may take, in octets: the least of
// the machine's memory and the limits of the control groups it is in (version 1
// and 2). 0: nothing is known. root is before all paths, for tests.
func memoryRoom(root string) int64 {
	room := int64(math.MaxInt64)
	least := func(n int64) {
		if n > 0 {
			room = min(room, n)
		}
	}
	least(memTotal(filepath.Join(root, "proc/meminfo")))
	groups, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		var bases []string
		file := "memory.max"
		switch {
		case f[1] == "": // version 2; "unified" where it stands beside version 1
			bases = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
		case f[1] == "memory":
			bases, file = []string{"sys/fs/cgroup/memory"}, "memory.limit_in_bytes"
		}
		for _, base := range bases {
			for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) { // a limit holds for all below
				least(readNumber(filepath.Join(root, base, dir, file)))
				if dir == "/" {
					break
				}
			}
		}
	}
	if room == math.MaxInt64 {
		return 0
	}
	return room
}

// memTotal reads MemTotal of proc(5)'s meminfo, in octets; 0: not there.
func memTotal(file string) int64 {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// readNumber reads a file that holds one number; 0: there is none, or "max".
func readNumber(file string) int64 {
	text, _ := os.ReadFile(file)
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}
