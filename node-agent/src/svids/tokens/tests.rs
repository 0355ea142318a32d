//! Who gets which token, and who asks for one.

use super::*;

fn wanted(entry: &str, audience: &str) -> Wanted {
    (entry.to_owned(), Audience::new(&[audience]).unwrap())
}

fn tokens() -> Arc<Tokens> {
    Arc::new(Tokens::new(Arc::default()))
}

/// A token that lives an hour from now, and is to be replaced in so many seconds.
fn token(clock: &ServerClock, text: &str, renew_in: i64) -> (JwtToken, UnixTime) {
    let token = JwtToken {
        spiffe_id: "spiffe://td/a".parse().unwrap(),
        token: text.to_owned(),
        expires: clock.now().plus(3600),
        authority_id: "k1".to_owned(),
        issued: clock.now(),
        grant: Some(Grant([1; 12])),
    };
    (token, clock.now().plus(renew_in))
}

async fn asked(tokens: &Arc<Tokens>, entry: &str, audience: &str) -> tokio::task::JoinHandle<Answer> {
    let (tokens_of_task, (entry, audience)) = (Arc::clone(tokens), wanted(entry, audience));
    let before = tokens.lock().waiting.values().map(Vec::len).sum::<usize>();
    let task = tokio::spawn(async move { tokens_of_task.fetch(&entry, audience).await });
    while !task.is_finished() && tokens.lock().waiting.values().map(Vec::len).sum::<usize>() == before {
        tokio::task::yield_now().await;
    }
    task
}

#[tokio::test]
async fn several_who_ask_for_the_same_get_the_same_signed_once() {
    let tokens = tokens();
    let (one, two) = (asked(&tokens, "e", "a").await, asked(&tokens, "e", "a").await);
    let due = tokens.due(64);
    assert_eq!(due, [wanted("e", "a")]);
    let three = asked(&tokens, "e", "a").await;
    assert!(tokens.due(64).is_empty(), "it is under way");
    tokens.answer(&due[0], Ok(token(&tokens.clock, "t1", 1800)));
    for task in [one, two, three] {
        assert_eq!(task.await.unwrap().unwrap().token, "t1");
    }
    assert_eq!(tokens.fetch("e", wanted("e", "a").1).await.unwrap().token, "t1", "held");
    assert!(tokens.due(64).is_empty());
}

#[tokio::test]
async fn other_audiences_and_entries_get_others() {
    let tokens = tokens();
    let tasks = [asked(&tokens, "e", "a").await, asked(&tokens, "e", "b").await, asked(&tokens, "f", "a").await];
    assert_eq!(tokens.due(2).len(), 2);
    assert_eq!(tokens.due(2).len(), 1);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn after_half_of_its_life_a_new_one_is_asked_for_and_the_old_one_serves_where_there_is_none() {
    let tokens = tokens();
    tokens.answer(&wanted("e", "a"), Ok(token(&tokens.clock, "old", 0)));
    let task = asked(&tokens, "e", "a").await;
    tokens.answer(&tokens.due(64)[0], Err(NoToken::Unsigned));
    assert_eq!(task.await.unwrap().unwrap().token, "old");
    let task = asked(&tokens, "e", "a").await;
    tokens.answer(&tokens.due(64)[0], Ok(token(&tokens.clock, "new", 1800)));
    assert_eq!(task.await.unwrap().unwrap().token, "new");
    let gone = wanted("e", "a");
    tokens.answer(&gone, Err(NoToken::Gone));
    assert!(tokens.lock().held.is_empty(), "what is gone is not served");
}

#[tokio::test]
async fn while_the_server_has_enough_an_old_one_is_given_at_once_and_whoever_has_none_waits() {
    let tokens = tokens();
    tokens.answer(&wanted("e", "a"), Ok(token(&tokens.clock, "old", 0)));
    tokens.rest(Duration::from_secs(3600));
    assert_eq!(tokens.fetch("e", wanted("e", "a").1).await.unwrap().token, "old");
    assert!(tokens.due(64).is_empty(), "nobody waits for another");
    let task = asked(&tokens, "e", "b").await;
    tokens.answer(&tokens.due(64)[0], Ok(token(&tokens.clock, "first", 1800)));
    assert_eq!(task.await.unwrap().unwrap().token, "first");
    tokens.rest(Duration::ZERO);
    let task = asked(&tokens, "e", "a").await;
    assert_eq!(tokens.due(64), [wanted("e", "a")], "it is replaced as soon as the server may be asked");
    task.abort();
}

#[tokio::test]
async fn whoever_asks_for_much_is_not_served_before_whoever_asks_for_little() {
    let tokens = tokens();
    let mut tasks = Vec::new();
    for n in 0..100 {
        tasks.push(asked(&tokens, "a", &n.to_string()).await);
    }
    for entry in ["b", "c"] {
        tasks.push(asked(&tokens, entry, "x").await);
    }
    let due = tokens.due(4);
    let entries: Vec<&str> = due.iter().map(|wanted| wanted.0.as_str()).collect();
    assert_eq!(entries, ["a", "b", "c", "a"]);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_tainted_key_takes_its_tokens_with_it_and_one_under_way_is_asked_for_again() {
    let tokens = tokens();
    tokens.answer(&wanted("e", "a"), Ok(token(&tokens.clock, "t1", 1800)));
    let task = asked(&tokens, "e", "b").await;
    let due = tokens.due(64);
    tokens.learn_authorities(&["k2".to_owned()].into(), ["k1".to_owned()].into());
    assert!(tokens.lock().held.is_empty());
    tokens.answer(&due[0], Ok(token(&tokens.clock, "t2", 1800)));
    assert_eq!(tokens.due(64), due, "asked for again");
    let (fresh, renew_at) = token(&tokens.clock, "t3", 1800);
    tokens.answer(&due[0], Ok((JwtToken { authority_id: "k2".to_owned(), ..fresh }, renew_at)));
    assert_eq!(task.await.unwrap().unwrap().token, "t3");
}

#[tokio::test]
async fn a_withdrawn_token_is_let_go_of_and_one_under_way_is_asked_for_again() {
    let tokens = tokens();
    tokens.answer(&wanted("e", "a"), Ok(token(&tokens.clock, "t1", 1800)));
    let (other, renew_at) = token(&tokens.clock, "o", 1800);
    let other = JwtToken { grant: Some(Grant([2; 12])), ..other };
    tokens.answer(&wanted("f", "a"), Ok((other.clone(), renew_at)));
    let task = asked(&tokens, "e", "b").await;
    let due = tokens.due(64);
    let grants = vec![(Grant([1; 12]), tokens.clock.now().plus(3600))];
    tokens.withdraw("td", &Withdrawal { full: true, grants, made_until: None });
    assert_eq!(tokens.lock().held.len(), 1, "the other one stays");
    tokens.answer(&due[0], Ok(token(&tokens.clock, "t2", 1800)));
    assert_eq!(tokens.due(64), due, "asked for again");
    tokens.answer(&due[0], Ok((other, renew_at)));
    assert_eq!(task.await.unwrap().unwrap().token, "o");
}

#[tokio::test]
async fn nobody_asks_without_end_while_everything_that_is_made_is_withdrawn() {
    let tokens = tokens();
    let until = tokens.clock.now().plus(10);
    tokens.withdraw("td", &Withdrawal { full: true, grants: Vec::new(), made_until: Some(until) });
    let task = asked(&tokens, "e", "a").await;
    tokens.answer(&tokens.due(64)[0], Ok(token(&tokens.clock, "t", 1800)));
    assert_eq!(task.await.unwrap(), Err(NoToken::Unsigned));
    assert!(tokens.lock().held.is_empty());
}

#[tokio::test]
async fn entries_that_go_and_a_refusal_take_their_tokens_with_them() {
    let tokens = tokens();
    for entry in ["e", "f"] {
        tokens.answer(&wanted(entry, "a"), Ok(token(&tokens.clock, entry, 1800)));
    }
    tokens.retain(|entry| entry == "f");
    assert_eq!(tokens.lock().held.len(), 1);
    let task = asked(&tokens, "g", "a").await;
    tokens.deny();
    assert_eq!(task.await.unwrap(), Err(NoToken::Gone));
    assert!(tokens.lock().held.is_empty());
}

#[tokio::test]
async fn whoever_asks_for_ever_new_audiences_fills_no_record_and_harms_no_other_entry() {
    let tokens = tokens();
    let mut tasks = Vec::new();
    for n in 0..256 {
        tasks.push(asked(&tokens, "e", &n.to_string()).await);
    }
    let refused = tokens.fetch("e", wanted("e", "one more").1).await;
    assert_eq!(refused, Err(NoToken::Overloaded));
    tasks.push(asked(&tokens, "e", "0").await);
    tasks.push(asked(&tokens, "f", "one more").await);
    assert_eq!(tokens.due(1000).len(), 257);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn whoever_asks_for_ever_new_audiences_pushes_out_his_own() {
    let tokens = tokens();
    tokens.answer(&wanted("other", "a"), Ok(token(&tokens.clock, "t", 1800)));
    for n in 0..2 * HELD_OF_ENTRY_MAX {
        tokens.answer(&wanted("e", &n.to_string()), Ok(token(&tokens.clock, "t", 1800)));
    }
    let inner = tokens.lock();
    assert_eq!(inner.held.len(), HELD_OF_ENTRY_MAX + 1);
    assert!(inner.held.contains_key(&wanted("other", "a")));
}
