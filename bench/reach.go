package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/litfass/litfass/test/nodebox"
	"github.com/litfass/litfass/torrent"
)

// reachSize is the size of the files that are read before they are here.
const reachSize = 64 << 20

// reach measures how soon a reader at one node has octets that only its neighbour has:
// the first of a magnet link that names nothing but the neighbour's tracker, and a
// range in the middle of a file that an article names. Each file is read once.
func (m *torrentBench) reach() (rows []torrentRow, err error) {
	p, err := m.neighbours()
	if err != nil {
		return nil, err
	}
	defer p.from.Remove()
	defer p.to.Remove()
	var first, ranged []time.Duration
	for i := range 3 + 4*m.rounds {
		t, err := p.firstOctet(2 * i)
		if err != nil {
			return nil, fmt.Errorf("the first octet of a magnet: %w", err)
		}
		first = append(first, t)
		if t, err = p.middle(2*i + 1); err != nil {
			return nil, fmt.Errorf("a range of a file that is not here: %w", err)
		}
		ranged = append(ranged, t)
	}
	row := func(what string, took []time.Duration, goal time.Duration) torrentRow {
		slices.Sort(took)
		mid, most := took[len(took)/2], took[len(took)-1]
		return torrentRow{What: "torrent, " + what, Ours: fmt.Sprintf("p50 %d, most %d of %d", mid.Milliseconds(), most.Milliseconds(), len(took)),
			Goal: fmt.Sprintf("<= %d", goal.Milliseconds()), OK: yes(mid <= goal)}
	}
	return []torrentRow{row("from a magnet link to the first octet over HTTP, ms", first, 150*time.Millisecond),
		row("1 MB in the middle of a file that is not here, ms", ranged, 200*time.Millisecond)}, nil
}

// reachPair are two nodes: articles flow from the one to the other.
type reachPair struct {
	from, to *meshNode
	dir      string
}

const reachGroup = "bench.files"

func (m *torrentBench) neighbours() (p reachPair, err error) {
	door, err := nodebox.FreeAddr()
	if err != nil {
		return p, err
	}
	web, err := nodebox.FreeAddr() // readers there are trusted, so they may make the node fetch
	if err != nil {
		return p, err
	}
	p.dir = m.dir
	groups := []string{reachGroup}
	if p.to, err = m.start(nodebox.Options{Host: "to.bench.example", Addr: door, HTTP: web, Peers: meshPort(), Groups: groups,
		Links: []nodebox.Link{{Name: "from.bench.example", Send: "!*"}}}); err != nil {
		return p, err
	}
	p.from, err = m.start(nodebox.Options{Host: "from.bench.example", HTTP: meshPort(), Peers: meshPort(), Groups: groups,
		Links: []nodebox.Link{{Name: "to.bench.example", Addr: door, Send: "*"}}})
	if err != nil {
		p.to.Remove()
	}
	return p, err
}

// file adds the i-th file to the giving node.
func (p reachPair) file(i int, args ...string) (h torrent.Infohash, name string, err error) {
	name = fmt.Sprintf("file-%d.bin", i)
	path := filepath.Join(p.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return h, name, err
	}
	defer os.Remove(path)
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{2, byte(i)}), reachSize)
	if err = errors.Join(err, f.Close()); err != nil {
		return h, name, err
	}
	out, err := p.from.Run(append([]string{"torrent", "add", "--json", path}, args...)...)
	var added struct{ Infohash string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &added)
	}
	if err == nil {
		h, err = torrent.ParseInfohash(added.Infohash)
	}
	return h, name, err
}

func (p reachPair) firstOctet(i int) (time.Duration, error) {
	h, name, err := p.file(i)
	if err != nil {
		return 0, err
	}
	link := torrent.Magnet{Hash: h, Name: name, Length: reachSize, Trackers: []string{p.from.url + "/announce"}}
	begin := time.Now()
	// The answer leads to the torrent's page; a program goes straight for the file.
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.PostForm(p.to.url+"/magnet", url.Values{"uri": {link.String()}, "do": {"fetch"}})
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		return 0, fmt.Errorf("the node answers the magnet link with %s", res.Status)
	}
	if err := p.read(h, name, "", 1); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	return took, p.state(h, "verified", "here")
}

func (p reachPair) middle(i int) (time.Duration, error) {
	h, name, err := p.file(i, "--group", reachGroup)
	if err != nil {
		return 0, err
	}
	if err := p.state(h, "known"); err != nil {
		return 0, err
	}
	const n = 1_000_000
	begin := time.Now()
	if err := p.read(h, name, fmt.Sprintf("bytes=%d-%d", reachSize/2, reachSize/2+n-1), n); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	return took, p.state(h, "verified")
}

// read reads n octets of a file at the taking node.
func (p reachPair) read(h torrent.Infohash, name, rng string, n int64) error {
	req, err := http.NewRequest(http.MethodGet, p.to.url+"/t/"+h.String()+"/"+name, nil)
	if err != nil {
		return err
	}
	want := http.StatusOK
	if rng != "" {
		want = http.StatusPartialContent
		req.Header.Set("Range", rng)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != want {
		return fmt.Errorf("%s: %s", req.URL, res.Status)
	}
	_, err = io.CopyN(io.Discard, res.Body, n)
	return err
}

// state waits until the taking node has a torrent in one of the states.
func (p reachPair) state(h torrent.Infohash, states ...string) error {
	req, err := http.NewRequest(http.MethodGet, p.to.url+"/t/"+h.String()+"/", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	var now struct{ State string }
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(20 * time.Millisecond) {
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = json.NewDecoder(res.Body).Decode(&now) // 404: not known yet
		res.Body.Close()
		if slices.Contains(states, now.State) {
			return nil
		}
	}
	return fmt.Errorf("%s is %q after a minute", h, now.State)
}

const (
	trackerPeers  = 4096 // each asks at most 50 times a second, or it is refused (spec §6.7)
	trackerSwarms = 1000
	trackerEach   = 10 // swarms that a peer is in
	trackerFor    = 3 * time.Second
)

// announces measures the UDP tracker of a whole node that may use one core.
func (m *torrentBench) announces() (torrentRow, error) {
	row := torrentRow{What: "torrent, UDP announces/s, 4,096 peers in 1,000 swarms, node on one core (its CPU, us)", Goal: ">= 50,000"}
	at := meshPort()
	n, err := m.start(nodebox.Options{Host: "from.bench.example", HTTP: meshPort(), Peers: meshPort(), Torrent: fmt.Sprintf("tracker = %q", at)}, "GOMAXPROCS=1")
	if err != nil {
		return row, err
	}
	defer n.Remove()
	to, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		return row, err
	}
	var askers [2]*asker // one sends while the other's answers are read
	for i := range askers {
		if askers[i], err = newAsker(to, i*trackerPeers/2, trackerPeers/2); err != nil {
			return row, err
		}
		defer askers[i].conn.Close()
	}
	var answered atomic.Int64
	var wg sync.WaitGroup
	var errs [2]error
	before, begin := cpu(n.Pid()), time.Now()
	for i, a := range askers {
		wg.Go(func() {
			for k := 0; errs[i] == nil && time.Since(begin) < trackerFor; k++ {
				var got int
				got, errs[i] = a.round(k)
				answered.Add(int64(got))
			}
		})
	}
	wg.Wait()
	took, used := time.Since(begin), cpu(n.Pid())-before
	total := float64(answered.Load())
	row.Ours = fmt.Sprintf("%.0f (%.1f)", total/took.Seconds(), used.Seconds()*1e6/max(total, 1))
	row.OK = yes(total/took.Seconds() >= 50000)
	return row, errors.Join(errs[:]...)
}

// asker is many peers with an address each (127.0.0.0/8 is all this machine's) on one socket.
type asker struct {
	conn *ipv4.PacketConn
	to   *net.UDPAddr
	ids  [][8]byte // connection ids, in the order of the peers
	src  [][]byte  // control messages that set the source address
	base int
	out  []ipv4.Message
	in   []ipv4.Message
	rnd  *rand.Rand
}

const askBatch = 64

func newAsker(to *net.UDPAddr, base, peers int) (*asker, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{})
	if err != nil {
		return nil, err
	}
	a := &asker{conn: ipv4.NewPacketConn(c), to: to, ids: make([][8]byte, peers), base: base, rnd: rand.New(rand.NewPCG(1, uint64(base)))}
	for i := range peers {
		n := base + i
		a.src = append(a.src, (&ipv4.ControlMessage{Src: net.IPv4(127, 1, byte(n>>8), byte(n))}).Marshal())
	}
	for range askBatch {
		a.out = append(a.out, ipv4.Message{Buffers: [][]byte{make([]byte, 98)}, Addr: to})
		a.in = append(a.in, ipv4.Message{Buffers: [][]byte{make([]byte, 2048)}})
	}
	for i := 0; i < peers; i += askBatch {
		if err := a.connect(i); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// connect has a batch of peers, from the i-th on, get their connection ids (BEP 15).
func (a *asker) connect(i int) error {
	for k := range a.out {
		b := binary.BigEndian.AppendUint64(a.out[k].Buffers[0][:0], 0x41727101980)
		b = binary.BigEndian.AppendUint32(b, 0)
		a.out[k].Buffers[0], a.out[k].OOB = binary.BigEndian.AppendUint32(b, uint32(i+k)), a.src[i+k]
	}
	left := askBatch
	err := a.exchange(func(b []byte) {
		if n := binary.BigEndian.Uint32(b[4:]); binary.BigEndian.Uint32(b) == 0 && len(b) >= 16 && int(n) < len(a.ids) {
			a.ids[n] = [8]byte(b[8:16])
			left--
		}
	})
	if err == nil && left > 0 {
		err = fmt.Errorf("the tracker left %d of %d without a connection id", left, askBatch)
	}
	return err
}

// round has the next batch of peers announce, each in one of its swarms.
func (a *asker) round(n int) (answered int, err error) {
	for k := range a.out {
		i := (n*askBatch + k) % len(a.ids)
		b := append(a.out[k].Buffers[0][:0], a.ids[i][:]...)
		b = binary.BigEndian.AppendUint32(b, 1)
		b = binary.BigEndian.AppendUint32(b, uint32(i))
		var hash [20]byte
		binary.BigEndian.PutUint32(hash[:], uint32((a.base+i+a.rnd.IntN(trackerEach))%trackerSwarms))
		b = append(append(b, hash[:]...), make([]byte, 20+8)...) // peer id, downloaded
		b = binary.BigEndian.AppendUint64(b, 1)                  // left
		b = append(b, make([]byte, 8+4+4+4)...)                  // uploaded, event, address, key
		b = binary.BigEndian.AppendUint32(b, 50)
		a.out[k].Buffers[0], a.out[k].OOB = binary.BigEndian.AppendUint16(b, 6881), a.src[i]
	}
	err = a.exchange(func(b []byte) {
		if binary.BigEndian.Uint32(b) == 1 && len(b) >= 20 {
			answered++
		}
	})
	return answered, err
}

// exchange sends the batch and reads as many answers, or what came in 200 ms.
func (a *asker) exchange(answer func([]byte)) error {
	for out := a.out; len(out) > 0; {
		n, err := a.conn.WriteBatch(out, 0)
		if err != nil {
			return fmt.Errorf("send to the tracker: %w", err)
		}
		out = out[n:]
	}
	if err := a.conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return err
	}
	for got := 0; got < askBatch; {
		n, err := a.conn.ReadBatch(a.in[:askBatch-got], 0)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break // lost, or refused
		}
		if err != nil {
			return fmt.Errorf("read from the tracker: %w", err)
		}
		for _, msg := range a.in[:n] {
			if msg.N >= 8 {
				answer(msg.Buffers[0][:msg.N])
			}
		}
		got += n
	}
	return nil
}
