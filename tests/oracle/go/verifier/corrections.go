package main

const mostVoided = 4000

// named are ballots that an entry just voided or restored: the corrections that directly follow must say what that comes to.
type named struct {
	correction, kind string
	last             int64
}

// follows returns whether an entry goes on with the ballots just named.
func (c *count) follows(correction string) bool {
	return c.named != nil && c.named.correction == correction
}

// conclude ends the ballots just named: corrections told all that they came to, or did so long ago without naming them.
func (c *count) conclude() error {
	if c.named == nil {
		return nil
	}
	if len(c.moved) > 0 && !c.byWord[c.named.correction] {
		return wrongf("entry %d names ballots, and no correction directly behind it says what they come to", c.named.last)
	}
	for tool, moved := range c.moved {
		owed := c.owed[tool]
		c.owed[tool] = tally{owed[0] - moved[0], owed[1] - moved[1]}
	}
	c.moved, c.named = map[string]tally{}, nil
	return nil
}

// void takes ballots out, or back in, by the positions of their last entries.
func (c *count) void(position int64, kind string, told said) error {
	if !c.follows(told.Correction) {
		if err := c.conclude(); err != nil {
			return err
		}
	}
	if len(told.Ballots) == 0 || len(told.Ballots) > mostVoided {
		return wrongf("entry %d names %d ballots, not 1 to %d", position, len(told.Ballots), mostVoided)
	}
	c.named = &named{told.Correction, kind, position}
	c.namesAny = c.namesAny || kind == "BallotsVoided"
	before := int64(0)
	for _, place := range told.Ballots {
		if place <= before || place >= position {
			return wrongf("entry %d names %d, which doesn't stand between %d and itself", position, place, before)
		}
		before = place
		if err := c.voidOne(position, place, kind == "BallotsRestored"); err != nil {
			return err
		}
	}
	return nil
}

func (c *count) voidOne(position, place int64, restores bool) error {
	name, known := c.votes[place]
	if !known {
		return wrongf("entry %d names %d, which is no vote", position, place)
	}
	stands := c.ballots[name]
	if stands.position != place {
		return wrongf("entry %d names %d, which is not the last entry of its ballot", position, place)
	}
	if stands.voided != restores {
		return wrongf("entry %d: the ballot of entry %d is voided twice, or restored without being so", position, place)
	}
	stands.voided = !restores
	if stands.choice != "" {
		step := -1
		if restores {
			step = 1
		}
		tool := name[:22]
		c.moved[tool] = c.moved[tool].plus(stands.choice, step)
	}
	return nil
}

// correct takes a correction's tools: the tally before and after each, by the ballots just named or at its word.
func (c *count) correct(position int64, told said) error {
	if !c.follows(told.Correction) {
		if err := c.conclude(); err != nil {
			return err
		}
	}
	kind, known := map[string]string{"disqualified": "BallotsVoided", "reinstated": "BallotsRestored"}[told.Action]
	if !known || (c.named != nil && c.named.kind != kind) {
		return wrongf("entry %d can't be %q", position, told.Action)
	}
	votes, seen := 0, map[string]bool{}
	for _, of := range told.Tools {
		for side := range of.Before {
			votes += abs(of.After[side] - of.Before[side])
		}
		if seen[of.Tool] {
			return wrongf("entry %d has %s twice", position, of.Tool)
		}
		seen[of.Tool] = true
	}
	if votes != told.Votes {
		return wrongf("entry %d says that it changes %d votes, and lists %d", position, told.Votes, votes)
	}
	if c.named == nil && votes > 0 {
		c.byWord[told.Correction] = true
	}
	for _, of := range told.Tools {
		if err := c.correctOne(position, of, told.Action == "reinstated"); err != nil {
			return err
		}
	}
	if c.named != nil {
		c.named.last = position
	}
	return nil
}

func (c *count) correctOne(position int64, of corrected, restores bool) error {
	tool := c.tools[of.Tool]
	if tool == nil {
		return wrongf("entry %d corrects a tool that was never added, %s", position, of.Tool)
	}
	if of.Before != tool.tally || of.After[0] < 0 || of.After[1] < 0 {
		return wrongf("entry %d: before it, %s stood at %v, not at %v", position, tool.slug, tool.tally, of.Before)
	}
	steps := tally{of.After[0] - of.Before[0], of.After[1] - of.Before[1]}
	if c.named == nil {
		if err := c.owe(position, of.Tool, steps, restores); err != nil {
			return err
		}
	} else if steps != c.moved[of.Tool] {
		return wrongf("entry %d moves %s by %v, and its ballots come to %v", position, tool.slug, steps, c.moved[of.Tool])
	}
	delete(c.moved, of.Tool)
	tool.tally = of.After
	return nil
}

// owe takes a correction at its word: it takes votes away, or gives back what such ones took.
func (c *count) owe(position int64, tool string, steps tally, restores bool) error {
	owed := c.owed[tool]
	for side, step := range steps {
		owed[side] += step
		if owed[side] > 0 || (step != 0 && (step > 0) != restores) {
			return wrongf("entry %d names no ballots, and gives %s votes that nobody lost, or takes some in giving", position, tool)
		}
	}
	c.owed[tool] = owed
	return nil
}

// end concludes: ballots named at last must come to all that was taken at its word.
func (c *count) end() error {
	if err := c.conclude(); err != nil {
		return err
	}
	for tool, owed := range c.owed {
		if c.namesAny && owed != (tally{}) {
			return wrongf("corrections of %s that name no ballots don't come to those named later", tool)
		}
	}
	return nil
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
