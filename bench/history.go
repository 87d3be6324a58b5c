package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/litfass/litfass/article"
)

// idsPerFile is how many ids one file of forgotten articles holds here.
const idsPerFile = 1 << 18

func oldID(k int64) article.ID { return article.ID(fmt.Sprintf("<old.%d@bench.invalid>", k)) }

// leaveIDs lays n ids of articles that were here and are gone beside a stopped
// node's segments (spool/local/FORMAT.md, Ids): the history that a node has after
// years, without the years.
func leaveIDs(spool string, n int) error {
	until := uint32(time.Now().Add(60 * 24 * time.Hour).Unix())
	for file, from := 0, 0; from < n; file, from = file+1, from+idsPerFile {
		var hashes [][16]byte
		for k := from; k < min(n, from+idsPerFile); k++ {
			hashes = append(hashes, oldID(int64(k)).Hash())
		}
		// In order: else writing the index takes most of the time.
		slices.SortFunc(hashes, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
		b := append([]byte("LFIDS\x00\x00\x01"), make([]byte, 8)...)
		for _, h := range hashes {
			b = binary.LittleEndian.AppendUint32(append(b, h[:]...), until)
		}
		binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[16:], crc32.MakeTable(crc32.Castagnoli)))
		if err := os.WriteFile(filepath.Join(spool, fmt.Sprintf("%08d.ids", 50_000_000+file)), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// histories measures CHECK on a node with these numbers of history entries, one after
// the other. They are ids of articles that are gone: what is asked is the same, and
// no index of their texts grows meanwhile.
func (b *bench) histories(sizes ...int) (got []checked, err error) {
	nd, err := b.ours()
	if err != nil {
		return nil, err
	}
	defer nd.Remove()
	for _, n := range sizes {
		if err := nd.Stop(); err != nil {
			return nil, err
		}
		dir := filepath.Join(nd.Dir, "data", "spool")
		if err := leaveIDs(dir, n); err != nil {
			return nil, err
		}
		begin := time.Now()
		if _, err := nd.Run("spool", "reindex"); err != nil {
			return nil, err
		}
		reindex := time.Since(begin)
		up, err := nd.Start()
		if err != nil {
			return nil, err
		}
		r, err := checkBoth(nd.addr(), func(k int64) article.ID { return oldID(k * 7919 % int64(n)) })
		if err != nil {
			return nil, err
		}
		got = append(got, r)
		_, hot, hotAnon := memory(nd.Pid())
		settle(nd.Pid(), time.Minute)
		_, rss, anon := memory(nd.Pid())
		b.add(row{what: fmt.Sprintf("node with %d entries, RSS (anonymous) MiB", n), ours: fmt.Sprintf("%d (%d) after CHECK, %d (%d) at rest", hot>>10, hotAnon>>10, rss>>10, anon>>10)})
		b.add(row{what: fmt.Sprintf("index of %d entries made again, s; start after it, ms", n), ours: fmt.Sprintf("%.0f; %d", reindex.Seconds(), up.Milliseconds())})
	}
	return got, nil
}
