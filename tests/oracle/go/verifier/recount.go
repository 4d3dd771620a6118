package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
)

const (
	ofBallot = `","minute":(0|[1-9][0-9]{0,9}),"tool":"([A-Za-z0-9_-]{21}[AQgw])","ballot":"([0-9a-f]{32})"`
	choice   = `"(ship|skip)"`
)

var (
	cast      = regexp.MustCompile(`^\{"type":"VoteCast` + ofBallot + `,"choice":` + choice + `(?:,"previous":` + choice + `)?\}$`)
	retracted = regexp.MustCompile(`^\{"type":"VoteRetracted` + ofBallot + `(),"previous":` + choice + `\}$`)
	sealed    = regexp.MustCompile(`^\{"sealed":"[0-9a-f]{64}"\}$`)
	open_     = regexp.MustCompile(`(?s)^\{"type":"([A-Za-z]+)","minute":(0|[1-9][0-9]{0,9}),"data":(\{.*\})\}$`)
)

// A ballot stands at a choice since a position; voided, it doesn't count.
type ballot struct {
	position int64
	choice   string
	voided   bool
}

type count struct {
	minute  int64
	ballots map[string]*ballot // by tool and name
	votes   map[int64]string   // which ballot an entry is of
	tallies map[string]map[string]int
	slugs   map[string]string         // the tool of each slug that one has now
	slugOf  map[string]string         // and the other way round
	owners  map[string]string         // the tool that each slug leads to, for ever
	moved   map[string]map[string]int // what ballots voided or restored come to, until a correction says so
}

func newCount() *count {
	return &count{
		ballots: map[string]*ballot{}, votes: map[int64]string{}, tallies: map[string]map[string]int{},
		slugs: map[string]string{}, slugOf: map[string]string{}, owners: map[string]string{},
		moved: map[string]map[string]int{},
	}
}

// take counts an entry, or says why it is refused.
func (c *count) take(position int64, entry []byte) error {
	text := string(entry)
	found := cast.FindStringSubmatch(text)
	if found == nil {
		found = retracted.FindStringSubmatch(text)
	}
	if found != nil {
		return c.vote(position, found)
	}
	if sealed.MatchString(text) {
		return nil
	}
	form := open_.FindStringSubmatch(text)
	if form == nil {
		return wrongf("entry %d has none of the known forms: %s", position, text)
	}
	if err := c.turn(position, form[2]); err != nil {
		return err
	}
	return c.event(position, form[1], []byte(form[3]))
}

func (c *count) turn(position int64, text string) error {
	minute, err := strconv.ParseInt(text, 10, 64)
	if err == nil && minute < c.minute {
		err = wrongf("entry %d: its minute %d is before %d", position, minute, c.minute)
	}
	c.minute = minute
	return err
}

func (c *count) vote(position int64, found []string) error {
	if err := c.turn(position, found[1]); err != nil {
		return err
	}
	tool, name, now, was := found[2], found[2]+found[3], found[4], found[5]
	stands, known := c.ballots[name]
	if !known {
		stands = &ballot{}
		c.ballots[name] = stands
	}
	switch {
	case stands.voided:
		return wrongf("entry %d is a vote on a ballot that is voided", position)
	case stands.choice != was:
		return wrongf("entry %d says that its ballot stood at %q, but it stood at %q", position, was, stands.choice)
	case was == now:
		return wrongf("entry %d changes nothing", position)
	case c.tallies[tool] == nil:
		return wrongf("entry %d is a vote on a tool that was never added", position)
	}
	stands.position, stands.choice = position, now
	c.votes[position] = name
	c.tallies[tool][was]--
	c.tallies[tool][now]++
	return nil
}

type correction struct {
	Tools []struct {
		Tool          string
		Before, After [2]int
	}
}

func (c *count) event(position int64, kind string, data []byte) error {
	var read struct {
		Tool, Slug string
		Ballots    []int64
		correction
	}
	if err := json.Unmarshal(data, &read); err != nil {
		return wrongf("entry %d: %v", position, err)
	}
	switch kind {
	case "ToolAdded", "ToolRenamed", "FormerSlugAdded":
		if owner, known := c.owners[read.Slug]; known && owner != read.Tool {
			return wrongf("entry %d: %s leads to another tool, %s", position, read.Slug, owner)
		}
		c.owners[read.Slug] = read.Tool
		if kind == "FormerSlugAdded" {
			return nil
		}
		delete(c.slugs, c.slugOf[read.Tool])
		c.slugs[read.Slug], c.slugOf[read.Tool] = read.Tool, read.Slug
		if c.tallies[read.Tool] == nil {
			c.tallies[read.Tool] = map[string]int{}
		}
	case "BallotsVoided", "BallotsRestored":
		return c.void(position, read.Ballots, kind == "BallotsRestored")
	case "CorrectionRecorded":
		return c.correct(position, read.correction)
	}
	return nil
}

func (c *count) void(position int64, places []int64, restore bool) error {
	for _, place := range places {
		name, known := c.votes[place]
		if !known {
			return wrongf("entry %d names %d, which is no vote", position, place)
		}
		stands := c.ballots[name]
		if stands.position != place {
			return wrongf("entry %d names %d, which is not the last entry of its ballot", position, place)
		}
		if stands.voided != restore {
			return wrongf("entry %d: the ballot of entry %d is voided twice, or restored without being so", position, place)
		}
		stands.voided = !restore
		tool := name[:22]
		if c.moved[tool] == nil {
			c.moved[tool] = map[string]int{}
		}
		step := -1
		if restore {
			step = 1
		}
		c.moved[tool][stands.choice] += step
	}
	return nil
}

func (c *count) correct(position int64, told correction) error {
	for _, of := range told.Tools {
		for side, name := range []string{"ship", "skip"} {
			before := c.tallies[of.Tool][name]
			if of.Before[side] != before || of.After[side] != before+c.moved[of.Tool][name] {
				return wrongf("entry %d: %s of %s is %d and then %d by the ballots, not %d and %d",
					position, name, of.Tool, before, before+c.moved[of.Tool][name], of.Before[side], of.After[side])
			}
			c.tallies[of.Tool][name] = of.After[side]
			delete(c.moved[of.Tool], name)
		}
	}
	return nil
}

// compare reads every tool that the site shows; a card that changed after the tree's last entry is left out.
func (c *count) compare(site string, size int64) error {
	for tool, rest := range c.moved {
		if rest["ship"] != 0 || rest["skip"] != 0 {
			return wrongf("ballots on %s were voided or restored, and no correction says so", tool)
		}
	}
	compared := 0
	for cursor := ""; ; {
		body, err := get(site + "/v1/tools?limit=100" + cursor)
		if err != nil {
			return err
		}
		var page struct {
			Items []struct {
				Slug      string
				Position  int64
				Community struct{ Ship, Skip int }
			}
			Next *string
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return err
		}
		for _, card := range page.Items {
			if card.Position > size {
				continue
			}
			own := c.tallies[c.slugs[card.Slug]]
			if own["ship"] != card.Community.Ship || own["skip"] != card.Community.Skip {
				return wrongf("%s is %d/%d by the log, %d/%d by the site",
					card.Slug, own["ship"], own["skip"], card.Community.Ship, card.Community.Skip)
			}
			compared++
		}
		if page.Next == nil {
			fmt.Printf("ok %d ballots; %d tools are what the site shows\n", len(c.ballots), compared)
			return nil
		}
		cursor = "&cursor=" + url.QueryEscape(*page.Next)
	}
}
