/**
 * Phrasing for the relations of cities, institutions and sports teams. Each relation keeps its own words ("stands in"
 * for an institution's city, "home games" for a team's town, "opened" for an opening year), so that a sentence alone
 * tells which relation is meant. {O} of `river` is the bare name and the core supplies "the"; {O} of `speciality` may
 * be singular, plural or mass, so no verb ever has to agree with it.
 */

import type { Phrases } from "./phrases.ts";

export const placePhrases = {
  // The subject is a city.
  mayor: {
    statements: [
      "{S} has {O} as mayor",
      "{S} is a city whose mayor is {O}",
      "{S} is governed by Mayor {O}",
      "{S} has given the office of mayor to {O}",
      "{O} is the mayor of {S}",
      "{O} now leads the city council as mayor in {S}",
      "the mayor's chain of {S} is worn by {O}",
      "in the mayor's office of {S} sits {O}",
    ],
    questions: [
      "who is the mayor of {S}",
      "which person now serves as mayor in {S}",
      "what is the name of the mayor of {S}",
      "whom does {S} have as mayor",
      "who sits in the mayor's office of {S}",
      "by which mayor is {S} governed",
    ],
    descriptions: ["the mayor of {S}", "the person who serves as mayor in {S}"],
  },
  river: {
    statements: [
      "{S} lies on the river {O}",
      "{S} is crossed by the river {O}",
      "{S} was built along the banks of the {O}",
      "{S} gets fresh water from the river {O}",
      "the river {O} flows through {S}",
      "the {O} is the river that passes {S}",
      "boats on the river {O} can stop at {S}",
      "the river under the bridges of {S} is the {O}",
    ],
    questions: [
      "which river flows through {S}",
      "on what river does {S} lie",
      "what is the name of the river that passes {S}",
      "along the banks of which river was {S} built",
      "what river runs under the bridges of {S}",
      "by which river is {S} crossed",
    ],
    descriptions: ["the river that flows through {S}", "the river on whose banks {S} lies"],
  },
  population: {
    statements: [
      "{S} has a population of {O}",
      "{S} is home to {O} people",
      "{S} counts {O} inhabitants in all",
      "{S} is a city with {O} residents",
      "{O} people live in {S}",
      "{O} is the number of inhabitants of {S}",
      "the population of {S} stands at {O}",
      "a count of everyone living in {S} gives {O}",
    ],
    questions: [
      "how many people live in {S}",
      "what is the population of {S}",
      "how large is the number of inhabitants of {S}",
      "what number of residents does {S} have",
      "to how many people is {S} home",
      "what does a count of everyone living in {S} give",
    ],
    descriptions: ["the population of {S}", "the number of people who live in {S}"],
  },
  speciality: {
    statements: [
      "{S} is a city known for {O}",
      "{S} owes fame as a city to {O}",
      "{S} has long had {O} as a local speciality",
      "{S} draws many visitors who look for the famous {O}",
      "{O} is what the city of {S} is best known for",
      "with {O} the craftspeople of {S} made the city famous",
      "the local speciality of {S} is {O}",
      "travellers praise the city of {S} for {O}",
    ],
    questions: [
      "what is {S} best known for",
      "what is the local speciality of {S}",
      "which speciality made {S} famous",
      "for what do travellers praise {S}",
      "to what does {S} owe fame as a city",
      "which famous local thing do visitors look for in {S}",
    ],
    descriptions: ["the local speciality of {S}", "the thing that the city of {S} is known for"],
  },

  // The subject is an institution: an academy, a museum, an institute.
  location: {
    statements: [
      "{S} stands in the city of {O}",
      "{S} is located in {O}",
      "{S} can be visited in {O}",
      "{S} occupies a building in {O}",
      "{O} is the city in which {S} is located",
      "in {O} stands the building of {S}",
      "the city where {S} can be found is {O}",
      "visitors to {S} must travel to {O}",
    ],
    questions: [
      "where is {S} located",
      "in which city does {S} stand",
      "what city must visitors to {S} travel to",
      "where can the building of {S} be found",
      "which city is the location of {S}",
      "in what city can people visit {S}",
    ],
    descriptions: ["the city in which {S} is located", "the city where {S} stands"],
  },
  director: {
    statements: [
      "{S} has {O} as director",
      "{S} is directed by {O}",
      "{S} is under the direction of {O}",
      "{S} has chosen {O} for the post of director",
      "{O} is the director of {S}",
      "{O} holds the director's post at {S}",
      "the present director of {S} is {O}",
      "the director's desk at {S} belongs to {O}",
    ],
    questions: [
      "who is the director of {S}",
      "which person directs {S}",
      "what is the name of the present director of {S}",
      "who holds the director's post at {S}",
      "under whose direction is {S}",
      "by whom is {S} directed",
    ],
    descriptions: ["the director of {S}", "the person who directs {S}"],
  },
  openingYear: {
    statements: [
      "{S} opened in the year {O}",
      "{S} first let visitors in during {O}",
      "{S} was opened to the public in {O}",
      "{S} has been open since {O}",
      "{O} was the year in which {S} opened",
      "in {O} the doors of {S} were opened",
      "the opening of {S} came in {O}",
      "the opening year of {S} is {O}",
    ],
    questions: [
      "in which year did {S} open",
      "when was {S} opened to the public",
      "since what year has {S} been open",
      "what is the opening year of {S}",
      "when were the doors of {S} opened",
      "in what year did {S} first let visitors in",
    ],
    descriptions: ["the year in which {S} opened", "the opening year of {S}"],
  },

  // The subject is a sports team.
  homeTown: {
    statements: [
      "{S} play home games in {O}",
      "{S} are a team from {O}",
      "{S} have a home ground in {O}",
      "{S} call the city of {O} home",
      "{O} is the city where {S} play home games",
      "in {O} lies the home ground of {S}",
      "the home town of the team {S} is {O}",
      "fans watch home games of {S} in {O}",
    ],
    questions: [
      "where do {S} play home games",
      "in which city is the home ground of {S}",
      "what is the home town of the team {S}",
      "which city do {S} call home",
      "from what city does the team {S} come",
      "where can fans watch a home game of {S}",
    ],
    descriptions: ["the home town of {S}", "the city where {S} play home games"],
  },
  captain: {
    statements: [
      "{S} have {O} as captain",
      "{S} are captained by {O}",
      "{S} follow Captain {O} onto the field",
      "{S} have given the captain's armband to {O}",
      "{O} is the captain of {S}",
      "{O} leads the players of {S} as captain",
      "the captain of the team {S} is {O}",
      "among the players of {S} the captain is {O}",
    ],
    questions: [
      "who is the captain of {S}",
      "which player captains {S}",
      "what is the name of the captain of {S}",
      "by whom is the team {S} captained",
      "who wears the captain's armband for {S}",
      "which captain do {S} follow onto the field",
    ],
    descriptions: ["the captain of {S}", "the player who captains {S}"],
  },
} satisfies Record<string, Phrases>;
