// Verifier checks the public log of a running site by golang.org/x/mod/sumdb, the code that `go` itself trusts.
//
//	verifier URL VKEY [OLDER-NOTE…]
//
// It reads every tile and every entry over HTTP, and knows nothing of the site's own code: only docs/proof.md. Exit 0: right;
// 1: it could not be checked; 2: inconsistent.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const width = 256

// wrong is what contradicts itself; any other error means that it could not be checked.
type wrong struct{ what string }

func (w wrong) Error() string { return w.what }

func wrongf(format string, values ...any) error { return wrong{fmt.Sprintf(format, values...)} }

// log is a site's log under one signed tree.
type log struct {
	site, prefix string
	tree         tlog.Tree
}

func get(address string) ([]byte, error) {
	answer, err := http.Get(address)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", address, answer.Status)
	}
	return body, err
}

// open returns the tree of a note that the key signed.
func open(text []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, wrongf("the checkpoint's signature: %v", err)
	}
	lines := strings.SplitN(opened.Text, "\n", 4)
	var size int64
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, wrongf("the note is of %q, not of %q", lines[0], verifier.Name())
	}
	if _, err := fmt.Sscanf(lines[1], "%d", &size); err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// path spells a tile as C2SP's tlog-tiles does; x/mod writes the height before it.
func path(level string, n int64, w int) string {
	digits := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		digits = fmt.Sprintf("x%03d/", n%1000) + digits
	}
	if w < width {
		digits += fmt.Sprintf(".p/%d", w)
	}
	return level + "/" + digits
}

// Height, ReadTiles and SaveTiles make a log what tlog.TileHashReader reads from.
func (l *log) Height() int { return 8 }

func (l *log) SaveTiles([]tlog.Tile, [][]byte) {}

func (l *log) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		one, err := get(l.prefix + "/tile/" + path(fmt.Sprint(tile.L), tile.N, tile.W))
		if err != nil {
			return nil, err
		}
		data = append(data, one)
	}
	return data, nil
}

// entries reads all entries, a tile at a time.
func (l *log) entries(take func(position int64, entry []byte) error) error {
	for n := int64(0); n*width < l.tree.N; n++ {
		w := min(width, l.tree.N-n*width)
		blob, err := get(l.prefix + "/tile/entries/" + path("", n, int(w))[1:])
		if err != nil {
			return err
		}
		position := n * width
		for ; len(blob) >= 2; position++ {
			end := 2 + int(blob[0])<<8 + int(blob[1])
			if end > len(blob) {
				return wrongf("the tile of entries %d ends within an entry", n)
			}
			if err := take(position+1, blob[2:end]); err != nil {
				return err
			}
			blob = blob[end:]
		}
		if position != n*width+w {
			return wrongf("the tile of entries %d has %d of %d entries", n, position-n*width, w)
		}
	}
	return nil
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

// everyTile compares each tile of each level with the hashes that it must hold, which leaves of the level below make.
func (l *log) everyTile(leaves []tlog.Hash) (tlog.Hash, int, error) {
	count := 0
	for level, hashes := 0, leaves; len(hashes) > 0; level++ {
		var above []tlog.Hash
		for n := 0; n*width < len(hashes); n++ {
			part := hashes[n*width : min(int64(len(hashes)), int64(n+1)*width)]
			served, err := get(l.prefix + "/tile/" + path(fmt.Sprint(level), int64(n), len(part)))
			if err != nil {
				return tlog.Hash{}, 0, err
			}
			count++
			for i, hash := range part {
				if len(served) != tlog.HashSize*len(part) || !bytes.Equal(hash[:], served[tlog.HashSize*i:tlog.HashSize*(i+1)]) {
					return tlog.Hash{}, 0, wrongf("tile %d/%d differs from its entries at hash %d (entries from %d)", level, n, i, (n*width+i)<<(8*level)+1)
				}
			}
			if len(part) == width {
				above = append(above, fold(part))
			}
		}
		hashes = above
	}
	root, err := tlog.TreeHash(l.tree.N, tlog.TileHashReader(l.tree, l))
	return root, count, err
}

func fold(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	return tlog.NodeHash(fold(hashes[:len(hashes)/2]), fold(hashes[len(hashes)/2:]))
}

// isPrefix proves an older tree from the tiles, and checks the site's own proof of it.
func (l *log) isPrefix(old tlog.Tree) error {
	if old.N > l.tree.N {
		return wrongf("the log has shrunk: %d entries were signed, now there are %d", old.N, l.tree.N)
	}
	if old.N == l.tree.N {
		if old.Hash != l.tree.Hash {
			return wrongf("two trees of %d entries were signed", old.N)
		}
		return nil
	}
	proof, err := tlog.ProveTree(l.tree.N, old.N, tlog.TileHashReader(l.tree, l))
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, l.tree.N, l.tree.Hash, old.N, old.Hash); err != nil {
		return wrongf("history was rewritten: the first %d entries are not those that were signed (%v)", old.N, err)
	}
	served, err := l.hashes(fmt.Sprintf("/v1/log/consistency?from=%d&to=%d", old.N, l.tree.N))
	if err == nil && tlog.CheckTree(served, l.tree.N, l.tree.Hash, old.N, old.Hash) != nil {
		err = wrongf("the site's proof that %d is a prefix of %d doesn't hold", old.N, l.tree.N)
	}
	return err
}

// hashes reads a proof of the site's own.
func (l *log) hashes(where string) (found []tlog.Hash, err error) {
	body, err := get(l.site + where)
	if err != nil {
		return nil, err
	}
	var told struct{ Hashes []string }
	if err := json.Unmarshal(body, &told); err != nil {
		return nil, err
	}
	for _, text := range told.Hashes {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			return nil, err
		}
		found = append(found, hash)
	}
	return found, nil
}

// contains checks the site's proofs of some entries chosen by chance, and of the first and the last.
func (l *log) contains(leaves []tlog.Hash) error {
	for _, index := range []int64{0, l.tree.N - 1, rand.Int63n(l.tree.N), rand.Int63n(l.tree.N)} {
		proof, err := l.hashes(fmt.Sprintf("/v1/log/proof?position=%d&size=%d", index+1, l.tree.N))
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, l.tree.N, l.tree.Hash, index, leaves[index]); err != nil {
			return wrongf("the site's proof of entry %d doesn't hold: %v", index+1, err)
		}
	}
	return nil
}

func check(address, vkey string, older []string) error {
	site, err := url.Parse(address)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	_, number, _ := strings.Cut(verifier.Name(), "/log/")
	l := &log{site: strings.TrimSuffix(site.String(), "/")}
	l.prefix = l.site + "/log/" + number
	text, err := get(l.prefix + "/checkpoint")
	if err != nil {
		return err
	}
	if l.tree, err = open(text, verifier); err != nil {
		return err
	}
	var leaves []tlog.Hash
	var all [][]byte
	err = l.entries(func(_ int64, entry []byte) error {
		leaves, all = append(leaves, tlog.RecordHash(entry)), append(all, entry)
		return nil
	})
	if err != nil {
		return err
	}
	root, tiles, err := l.everyTile(leaves)
	if err != nil {
		return err
	}
	if root != l.tree.Hash {
		return wrongf("the %d entries don't make the root of their checkpoint", l.tree.N)
	}
	fmt.Printf("ok %d entries in %d tiles make the signed root\n", l.tree.N, tiles)
	for _, name := range older {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		old, err := open(text, verifier)
		if err != nil {
			return err
		}
		if err := l.isPrefix(old); err != nil {
			return err
		}
		fmt.Printf("ok the first %d entries are those that were signed\n", old.N)
	}
	counted := newCount() // after the tree: what that contradicts says more
	if err := counted.run(all); err != nil {
		return err
	}
	if err := l.contains(leaves); err != nil {
		return err
	}
	return counted.compare(l.site, l.tree.N)
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "verifier URL VKEY [OLDER-NOTE…]")
		os.Exit(1)
	}
	if err := check(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.As(err, new(wrong)) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}
