package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// mapping is a stretch of a process's memory that a file backs and that nobody
// writes to: what is resident of it stands in the page cache as well.
type mapping struct {
	from, to uint64
	resident int // octets
}

// fileMaps reads from /proc/PID/smaps the mappings whose pages may be let go of: of
// files, not writable, and with no page of the process's own in them (relocations,
// a debugger's breakpoints), which would be lost.
func fileMaps(smaps io.Reader) ([]mapping, error) {
	var out []mapping
	var m mapping
	good := false
	keep := func() {
		if good && m.resident > 0 {
			out = append(out, m)
		}
	}
	sc := bufio.NewScanner(smaps)
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 2 {
			continue
		}
		if !strings.HasSuffix(f[0], ":") { // from-to perms offset device inode path
			keep()
			m, good = mapping{}, false
			if len(f) < 6 || f[4] == "0" || !strings.HasPrefix(f[5], "/") || strings.Contains(f[1], "w") {
				continue
			}
			_, err := fmt.Sscanf(f[0], "%x-%x", &m.from, &m.to)
			good = err == nil && m.from < m.to
			continue
		}
		n, err := strconv.Atoi(f[1])
		switch {
		case f[0] == "Rss:" && err == nil:
			m.resident = n << 10
		case f[0] == "Anonymous:" && (err != nil || n != 0):
			good = false
		}
	}
	keep()
	return out, sc.Err()
}

// releaseFiles takes the pages of mapped files, of the program itself among them,
// out of the process. They stay in the page cache while there is room, so that
// what is needed again comes back without a read, some 16 pages at a time. It returns
// how many octets were let go of.
func releaseFiles() (int, error) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return 0, fmt.Errorf("look at mapped files: %w", err)
	}
	defer f.Close()
	maps, err := fileMaps(f)
	if err != nil {
		return 0, fmt.Errorf("look at mapped files: %w", err)
	}
	gone := 0
	for _, m := range maps {
		if _, _, e := syscall.Syscall(syscall.SYS_MADVISE, uintptr(m.from), uintptr(m.to-m.from), syscall.MADV_DONTNEED); e == 0 {
			gone += m.resident
		}
	}
	return gone, nil
}

// residentFiles is how many octets of mapped files are resident: the third number
// of /proc/self/statm, in pages.
func residentFiles() int {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	if len(f) < 3 {
		return 0
	}
	n, _ := strconv.Atoi(f[2])
	return n * os.Getpagesize()
}
