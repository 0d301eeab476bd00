"""Words without a meaning of their own, German and English; left out of a question while others are in it."""

from __future__ import annotations

from typing import Final

from cradle.words.terms import terms

_GERMAN: Final = """
aber alle als am an auch auf aus bei bin bis bitte da damit das dass dem den der des dich die dies diese dieser dieses
doch du durch ein eine einem einen einer eines er es für gibt habe haben hat ich ihr im in ist ja kann kein keine man
mein mich mir mit muss nach nicht noch nur ob oder ohne sein sich sie sind so soll über um und uns unser unter vom von
vor war was welche welcher welches wenn wer werden wie wieviel will wir wird wo zu zum zur
"""
_ENGLISH: Final = """
a about all am an and any are as at be been but by can could do does for from had has have how i if in into is it its
may me my no not of on one or our should so some something that the their them there these they this those to us was we
were what when where which who why will with would you your
"""
EMPTY: Final = frozenset(terms(_GERMAN + _ENGLISH))
