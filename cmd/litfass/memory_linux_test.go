package main

import (
	"slices"
	"strings"
	"testing"
)

func TestFileMaps(t *testing.T) {
	const smaps = `00400000-01800000 r-xp 00000000 fe:00 77                         /usr/bin/litfass
Size:              20480 kB
Rss:               17396 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
01800000-02c00000 r--p 01400000 fe:00 77                         /usr/bin/litfass
Rss:               19432 kB
Anonymous:             0 kB
02c00000-02d00000 rw-p 02800000 fe:00 77                         /usr/bin/litfass
Rss:                1100 kB
Anonymous:           800 kB
02d00000-02e00000 r--p 02900000 fe:00 77                         /usr/bin/litfass
Rss:                  64 kB
Anonymous:             4 kB
c000000000-c000400000 rw-p 00000000 00:00 0 
Rss:                4096 kB
Anonymous:          4096 kB
7f0000000000-7f0000100000 r--s 00000000 fe:00 99                 /srv/node/data/spool/index.db
Rss:                 512 kB
Anonymous:             0 kB
7f0000200000-7f0000300000 r--s 00000000 fe:00 98                 /srv/node/data/a b.db
Rss:                   0 kB
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                  [vdso]
Rss:                   8 kB
Anonymous:             0 kB
`
	got, err := fileMaps(strings.NewReader(smaps))
	want := []mapping{{0x400000, 0x1800000, 17396 << 10}, {0x1800000, 0x2c00000, 19432 << 10}, {0x7f0000000000, 0x7f0000100000, 512 << 10}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%x, %v", got, err)
	}
}

// What was let go of is there again when it is needed: the test itself is among it.
func TestReleaseFiles(t *testing.T) {
	before := residentFiles()
	gone, err := releaseFiles()
	if err != nil || gone == 0 || before == 0 {
		t.Fatalf("%d of %d octets let go of, %v", gone, before, err)
	}
	if now := residentFiles(); now >= before {
		t.Errorf("%d octets resident, %d before", now, before)
	}
}
