package local

import (
	"encoding/binary"
	"math/bits"

	bolt "go.etcd.io/bbolt"

	"github.com/litfass/litfass/spool"
)

// History is cut into shards in order of time, so that ids that may be forgotten
// go by dropping a whole bucket. Each shard has a Bloom filter in memory.
const (
	shardMin   = 64 << 10
	shardMax   = 4 << 20
	filterBits = 12 // per id; with filterHash hashes 0.5 % of unknown ids ask the index
	filterHash = 6
	blockWords = 8 // a line of the processor's cache
)

type hash [16]byte

// known is what history holds of an id: where it is, or that it is recalled.
type known struct {
	seq   spool.Seq // 0: recalled
	until uint32    // when it may be forgotten, Unix seconds; if stored, counted from its arrival
}

func (k known) state(now int64) spool.State {
	switch {
	case k.seq != 0:
		return spool.Stored
	case int64(k.until) <= now:
		return spool.Unknown
	}
	return spool.Recalled
}

func (k known) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 12), uint64(k.seq))
	return binary.BigEndian.AppendUint32(b, k.until)
}

func decodeKnown(b []byte) (known, bool) {
	if len(b) != 12 {
		return known{}, false
	}
	return known{spool.Seq(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:])}, true
}

// filter is a Bloom filter whose bits for one id all lie in one block, so that asking
// it costs one access to memory: with ten million ids some twenty filters of together
// 15 MiB are asked for each. A nil one says "perhaps" to everything: a missing filter
// means "ask the index", never "absent".
type filter []uint64

func newFilter(ids int) filter {
	const block = blockWords * 64
	return make(filter, (ids*filterBits+block-1)/block*blockWords)
}

// of returns the block of an id, and filterHash times nine bits that say which bits
// of it are the id's.
func (f filter) of(h hash) (block []uint64, which uint64) {
	i, _ := bits.Mul64(binary.LittleEndian.Uint64(h[:]), uint64(len(f)/blockWords))
	return f[i*blockWords : (i+1)*blockWords], binary.LittleEndian.Uint64(h[8:])
}

func (f filter) add(h hash) {
	block, which := f.of(h)
	for range filterHash {
		block[which>>6%blockWords] |= 1 << (which % 64)
		which >>= 9
	}
}

func (f filter) perhaps(h hash) bool {
	if f == nil {
		return true
	}
	block, which := f.of(h)
	for range filterHash {
		if block[which>>6%blockWords]&(1<<(which%64)) == 0 {
			return false
		}
		which >>= 9
	}
	return true
}

// shard is one part of history. The newest one takes new ids.
type shard struct {
	id    uint32
	cap   int
	count int
	until uint32 // when all of it may be forgotten, unless an article is still here
	last  spool.Seq
	filt  filter
}

var (
	bktHist      = []byte("history")
	bktFilter    = []byte("filters2")
	bktOldFilter = []byte("filters") // laid out otherwise, until November 2026
)

func key32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func key64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func (h *shard) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(h.cap))
	b = binary.BigEndian.AppendUint32(b, uint32(h.count))
	b = binary.BigEndian.AppendUint32(b, h.until)
	return binary.BigEndian.AppendUint64(b, uint64(h.last))
}

func decodeShard(id uint32, b []byte) *shard {
	be := binary.BigEndian
	if len(b) != 20 {
		return nil
	}
	return &shard{id: id, cap: int(be.Uint32(b)), count: int(be.Uint32(b[4:])), until: be.Uint32(b[8:]), last: spool.Seq(be.Uint64(b[12:]))}
}

// storeFilter writes the shard's filter with the count it was made for.
func (h *shard) storeFilter(tx *bolt.Tx) error {
	if h.filt == nil {
		return nil
	}
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+8*len(h.filt)), uint32(h.count))
	for _, w := range h.filt {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return tx.Bucket(bktFilter).Put(key32(h.id), b)
}

// loadFilter takes the stored filter if it fits, else makes one from the ids.
func (h *shard) loadFilter(tx *bolt.Tx) {
	h.filt = nil
	f := newFilter(h.cap)
	b := tx.Bucket(bktFilter).Get(key32(h.id))
	if len(b) == 4+8*len(f) && int(binary.LittleEndian.Uint32(b)) == h.count {
		for i := range f {
			f[i] = binary.LittleEndian.Uint64(b[4+8*i:])
		}
		h.filt = f
		return
	}
	ids := tx.Bucket(bktHist).Bucket(key32(h.id))
	if ids == nil {
		return
	}
	c := ids.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if len(k) == len(hash{}) {
			f.add(hash(k))
		}
	}
	h.filt = f
}
