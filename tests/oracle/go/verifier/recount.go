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

// A tally is [ship, skip].
type tally [2]int

// plus returns the tally with more votes at a choice; none stands at no choice.
func (t tally) plus(choice string, step int) tally {
	switch choice {
	case "ship":
		t[0] += step
	case "skip":
		t[1] += step
	}
	return t
}

type count struct {
	minute   int64
	dropped  map[int64]bool     // what the site's cards pass over
	ballots  map[string]*ballot // by tool and name
	votes    map[int64]string   // which ballot an entry is of
	tools    map[string]*tool   // by id
	owners   map[string]string  // the tool that each slug leads to, for ever
	named    *named
	moved    map[string]tally // what the ballots just named come to, until corrections have said so
	owed     map[string]tally // what corrections without ballots came to, less the ballots named later
	byWord   map[string]bool  // corrections without ballots
	namesAny bool             // whether any ballots were voided by name
}

func newCount() *count {
	return &count{
		dropped: map[int64]bool{}, ballots: map[string]*ballot{}, votes: map[int64]string{}, tools: map[string]*tool{},
		owners: map[string]string{}, moved: map[string]tally{}, owed: map[string]tally{}, byWord: map[string]bool{},
	}
}

// run counts all entries, or says which is refused.
func (c *count) run(entries [][]byte) error {
	for _, entry := range entries {
		c.drop(entry)
	}
	for index, entry := range entries {
		if err := c.take(int64(index)+1, entry); err != nil {
			return err
		}
	}
	return c.end()
}

// take counts an entry, or says why it is refused.
func (c *count) take(position int64, entry []byte) error {
	text := string(entry)
	found := cast.FindStringSubmatch(text)
	if found == nil {
		found = retracted.FindStringSubmatch(text)
	}
	if found != nil {
		if err := c.conclude(); err != nil {
			return err
		}
		return c.vote(position, found)
	}
	if sealed.MatchString(text) {
		return c.conclude()
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
	of, name, now, was := c.tools[found[2]], found[2]+found[3], found[4], found[5]
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
	case of == nil:
		return wrongf("entry %d is a vote on a tool that was never added", position)
	}
	stands.position, stands.choice = position, now
	c.votes[position] = name
	if !c.dropped[position] {
		of.tally = of.tally.plus(was, -1).plus(now, 1)
	}
	return nil
}

type corrected struct {
	Tool          string
	Before, After tally
}

// said are the data of all public events that are looked at.
type said struct {
	Tool, Slug         string
	Correction, Action string
	Ballots            []int64
	Votes              int
	Tools              []corrected
	Projection         string
	Position           int64
}

func (c *count) event(position int64, kind string, data []byte) error {
	var read said
	if err := json.Unmarshal(data, &read); err != nil {
		return wrongf("entry %d: %v", position, err)
	}
	switch kind {
	case "BallotsVoided", "BallotsRestored":
		return c.void(position, kind, read)
	case "CorrectionRecorded":
		return c.correct(position, read)
	}
	if err := c.conclude(); err != nil {
		return err
	}
	switch kind {
	case "ToolAdded", "ToolRenamed", "FormerSlugAdded", "ToolDescribed", "ToolListed", "ToolUnlisted",
		"PanelReviewPublished", "PanelReviewRevised":
		return c.catalog(position, kind, read)
	case "PersonaDescribed", "ComparisonAnnounced", "EventDropped", "LogKeyAdded", "LogRestarted":
		return nil
	case "VoteCast", "VoteRetracted":
		return wrongf("entry %d: a vote has another form than this", position)
	}
	return fmt.Errorf("entry %d is of a type, %s, that is not known here", position, kind)
}

// compare reads every tool that the site shows; a card that changed after the tree's last entry is left out.
func (c *count) compare(site string, size int64) error {
	cards := map[string]*tool{}
	for _, of := range c.tools {
		if of.card != "" {
			cards[of.card] = of
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
			own, shown := cards[card.Slug], tally{card.Community.Ship, card.Community.Skip}
			if own == nil {
				return wrongf("%s is no tool by the log, and the site shows it", card.Slug)
			}
			if own.tally != shown {
				return wrongf("%s is %v by the log, %v by the site", card.Slug, own.tally, shown)
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
